#pragma once

#include <string>

#include "tokenizer/tokenizer.h"
#include "tokenizer/utf8.h"

namespace concertina::tokenizer {

// Decodes the tokens of one stream as they come. What push and flush returned, joined, is always a prefix of
// decode() of all tokens, and equal to it after flush. Never returns half a character. One stream, one
// thread.
class StreamingDetokenizer {
 public:
  StreamingDetokenizer(Tokenizer tokenizer, SkipSpecialTokens skip)
      : tokenizer_(std::move(tokenizer)), skip_(skip) {}

  std::string push(TokenId id);  // the text that is complete now; often empty within a character
  std::string flush();           // at the end of the stream: an unfinished character becomes U+FFFD

 private:
  Tokenizer tokenizer_;
  SkipSpecialTokens skip_;
  Utf8Stream stream_;
};

}  // namespace concertina::tokenizer
