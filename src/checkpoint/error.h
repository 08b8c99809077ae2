#pragma once

namespace concertina::checkpoint {

enum class CheckpointError {
  kNotFound,     // a file or tensor that is not there
  kUnreadable,   // a file that cannot be opened or mapped
  kCorrupt,      // a file whose content contradicts itself
  kWrongShape,   // a tensor that is not what the model needs
  kUnsupported,  // a dtype or setting that is not served
  kOutOfMemory,  // no memory for a tensor of one's own
};

}  // namespace concertina::checkpoint
