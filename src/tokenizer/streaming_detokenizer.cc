#include "tokenizer/streaming_detokenizer.h"

#include <algorithm>

namespace concertina::tokenizer {

bool StreamingDetokenizer::is_skipped(TokenId id) const {
  return skip_ == SkipSpecialTokens::kYes && tokenizer_.is_special(id) &&
         !(shown_ != nullptr && std::binary_search(shown_->begin(), shown_->end(), id));
}

std::string StreamingDetokenizer::push(TokenId id) {
  std::string text;
  if (is_skipped(id)) return text;
  decoder_.push(id, text);
  return text;
}

std::string StreamingDetokenizer::flush() {
  std::string text;
  decoder_.flush(text);
  return text;
}

}  // namespace concertina::tokenizer
