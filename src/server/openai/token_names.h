#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "server/openai/parameters.h"

namespace concertina::server::openai {

// A token's name among log-probabilities, unquoted. Bytes that are no text of their own (part of a character)
// are written as OpenAI writes them: "\xe2\x82" in a chat, "bytes:\xe2\x82" in a completion. "token_id:N"
// where that is asked for, and for ids of no token.
std::string token_name(TokenId token, Endpoint endpoint, TokensAs as, const tokenizer::Tokenizer* tokenizer);

// What log-probabilities say of tokens, as JSON that is made once for each token: a step of 128 choices with
// 20 each names 2,688. One thread's; it grows to some 100 bytes for each token of the vocabulary.
class TokenNames {
 public:
  explicit TokenNames(const tokenizer::Tokenizer* tokenizer) : tokenizer_(tokenizer) {}
  const tokenizer::Tokenizer* tokenizer() const { return tokenizer_; }

  struct Members {
    std::string name;   // quoted
    std::string bytes;  // [84,104]
  };
  // `endpoint`: kCompletions, or another one, whose names are a chat's. Until the next call.
  const Members& of(TokenId token, Endpoint endpoint, TokensAs as);

 private:
  Members made(TokenId token, Endpoint endpoint, TokensAs as) const;

  const tokenizer::Tokenizer* tokenizer_;
  std::vector<Members> chat_, completion_;  // by id; an empty name: not made yet
  Members other_;                           // the last one that is not kept
};

}  // namespace concertina::server::openai
