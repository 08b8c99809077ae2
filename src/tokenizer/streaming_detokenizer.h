#pragma once

#include <string>

#include "tokenizer/tokenizer.h"

namespace concertina::tokenizer {

// Decodes the tokens of one stream as they come. What push and flush returned, joined, is always a prefix of
// decode() of all tokens, and equal to it after flush. Never returns half a character. One stream, one
// thread.
class StreamingDetokenizer {
 public:
  // With TextBegin::kBefore the tokens go on a text (a prompt's), and a space that begins them stays: where
  // decode() of these tokens alone would take it off (SentencePiece's files), decode() of both would not.
  StreamingDetokenizer(Tokenizer tokenizer, SkipSpecialTokens skip, TextBegin begin = TextBegin::kHere)
      : tokenizer_(std::move(tokenizer)), skip_(skip), decoder_(tokenizer_.text_decoder(begin)) {}

  std::string push(TokenId id);  // the text that is complete now; often empty within a character
  std::string flush();           // at the end of the stream: an unfinished character becomes U+FFFD

 private:
  Tokenizer tokenizer_;
  SkipSpecialTokens skip_;
  TextDecoder decoder_;
};

}  // namespace concertina::tokenizer
