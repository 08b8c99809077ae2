#include "tokenizer/streaming_detokenizer.h"

namespace concertina::tokenizer {

std::string StreamingDetokenizer::push(TokenId id) {
  std::string text;
  if (skip_ == SkipSpecialTokens::kYes && tokenizer_.is_special(id)) return text;
  stream_.push(tokenizer_.token_bytes(id), text);
  return text;
}

std::string StreamingDetokenizer::flush() {
  std::string text;
  stream_.flush(text);
  return text;
}

}  // namespace concertina::tokenizer
