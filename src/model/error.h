#pragma once

namespace concertina::model {

enum class ModelError {
  kUnknownArchitecture,
  kBadField,      // config.json: missing, of the wrong type, or out of range
  kUnsupported,   // a setting that would change the arithmetic and is not built
  kOutOfMemory,
};

}  // namespace concertina::model
