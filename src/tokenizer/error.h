#pragma once

namespace concertina::tokenizer {

enum class TokenizerError {
  // The folder has no such file.
  kMissing,
  // A file is not what its format says: the message names file, field, found and expected.
  kInvalid,
  // A valid file that asks for something this tokenizer does not do.
  kUnsupported,
};

}  // namespace concertina::tokenizer
