#pragma once

namespace concertina::model {

enum class ModelError {
  kUnknownArchitecture,
  kBadField,     // config.json: missing, of the wrong type, or out of range
  kUnsupported,  // a setting that would change the arithmetic and is not built
  kBadWeights,   // tensors that are each fine but do not fit together
  kOutOfMemory,
};

}  // namespace concertina::model
