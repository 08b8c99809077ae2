#pragma once

namespace concertina::checkpoint {

enum class CheckpointError {
  kNotFound,     // a file or tensor that is not there
  kUnreadable,   // a file that cannot be opened or mapped
  kCorrupt,      // a file whose content contradicts itself
  kWrongShape,   // a tensor that is not what the model needs
  kUnsupported,  // a dtype or setting that is not served
  kOutOfMemory,  // no memory for a tensor of one's own
  kNotFinite,    // a weight that is infinite or not a number
  kChanged,      // files that changed while they were read
  kCancelled,    // the caller wanted no more of it
};

}  // namespace concertina::checkpoint
