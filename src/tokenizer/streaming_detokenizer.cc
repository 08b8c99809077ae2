#include "tokenizer/streaming_detokenizer.h"

namespace concertina::tokenizer {

std::string StreamingDetokenizer::push(TokenId id) {
  std::string text;
  if (skip_ == SkipSpecialTokens::kYes && tokenizer_.is_special(id)) return text;
  decoder_.push(id, text);
  return text;
}

std::string StreamingDetokenizer::flush() {
  std::string text;
  decoder_.flush(text);
  return text;
}

}  // namespace concertina::tokenizer
