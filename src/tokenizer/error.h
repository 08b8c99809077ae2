#pragma once

namespace concertina::tokenizer {

enum class TokenizerError {
  kNotFound,
  kCorrupt,      // a file that is not what it should be; the message names file and field
  kUnsupported,  // a kind of tokenizer or template that is not built
  kRender,       // a chat template that refuses these messages
};

}  // namespace concertina::tokenizer
