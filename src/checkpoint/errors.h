#pragma once

namespace concertina::checkpoint {

enum class CheckpointError {
  kFileUnreadable,  // missing, not a regular file, no permission, no memory for the mapping
  kTruncated,       // the file ends before what its header describes
  kBadHeader,       // safetensors header: absurd length, not JSON, duplicate or malformed entry
  kBadOffsets,      // data ranges overlap, leave gaps, run out of the file or disagree with shape and dtype
  kBadJson,         // config.json and the like: not JSON, not an object, a key twice
  kBadIndex,        // model.safetensors.index.json names a shard or tensor that is not there
  kTensorMissing,
  kWrongShape,
  kWrongDtype,
  kOutOfMemory,
};

}  // namespace concertina::checkpoint
