#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tokenizer/tokenizer.h"

namespace concertina::tokenizer {

// Decodes the tokens of one stream as they come. What push and flush returned, joined, is always a prefix of
// decode() of all tokens, and equal to it after flush, but for `shown`. Never returns half a character. One
// stream, one thread.
class StreamingDetokenizer {
 public:
  // With TextBegin::kBefore the tokens go on a text (a prompt's), and a space that begins them stays: where
  // decode() of these tokens alone would take it off (SentencePiece's files), decode() of both would not.
  // `shown`, ascending, null for none: special tokens that are not skipped all the same (marks of a format).
  StreamingDetokenizer(Tokenizer tokenizer, SkipSpecialTokens skip, TextBegin begin = TextBegin::kHere,
                       std::shared_ptr<const std::vector<TokenId>> shown = nullptr)
      : tokenizer_(std::move(tokenizer)),
        skip_(skip),
        decoder_(tokenizer_.text_decoder(begin)),
        shown_(std::move(shown)) {}

  std::string push(TokenId id);  // the text that is complete now; often empty within a character
  std::string flush();           // at the end of the stream: an unfinished character becomes U+FFFD

 private:
  bool is_skipped(TokenId id) const;

  Tokenizer tokenizer_;
  SkipSpecialTokens skip_;
  TextDecoder decoder_;
  std::shared_ptr<const std::vector<TokenId>> shown_;
};

}  // namespace concertina::tokenizer
