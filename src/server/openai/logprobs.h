#pragma once

#include <span>
#include <string>

#include "server/openai/parameters.h"

namespace concertina::server::openai {

// A token's name among log-probabilities, unquoted. Bytes that are no text of their own (part of a character)
// are written as OpenAI writes them: "\xe2\x82" in a chat, "bytes:\xe2\x82" in a completion. "token_id:N"
// where that is asked for, and for ids of no token.
std::string token_name(TokenId token, Endpoint endpoint, TokensAs as, const tokenizer::Tokenizer* tokenizer);

std::size_t n_characters(std::string_view text);  // code points of UTF-8

// The log-probabilities of a choice's tokens as JSON, in OpenAI's shape of the endpoint: of a chat a list of
// objects; of a completion four lists. A logprob is written so that it reads back as the same float; minus
// infinity, which JSON has not, as -9999.0 (vLLM's), NaN as null.
class LogprobLists {
 public:
  LogprobLists(Endpoint endpoint, TokensAs as, const tokenizer::Tokenizer* tokenizer)
      : endpoint_(endpoint), as_(as), tokenizer_(tokenizer) {}

  // `logprobs`: the token's own, then the highest; alone where there are none (a prompt's first token).
  // `offset`: of its text in the answer's, in characters.
  void add(TokenId token, std::span<const request::TokenLogprob> logprobs, std::size_t offset);
  bool empty() const { return tokens_.empty(); }
  std::string take();  // what was added since the last call; "null" if nothing was

 private:
  void add_chat(std::span<const request::TokenLogprob> logprobs);
  std::string chat_object(const request::TokenLogprob& one) const;
  std::string top_of_completion(std::span<const request::TokenLogprob> logprobs) const;
  std::string name_of(TokenId token) const { return token_name(token, endpoint_, as_, tokenizer_); }

  Endpoint endpoint_;
  TokensAs as_;
  const tokenizer::Tokenizer* tokenizer_;
  std::string tokens_, logprobs_, top_, offsets_;  // members of the lists; a chat's objects are in tokens_
};

// vLLM's prompt_logprobs: a list with null for the first token, then for each an object of ids, the token's
// own first: {"278": {"logprob": -1.5, "rank": 3, "decoded_token": "the"}}.
class PromptLogprobList {
 public:
  PromptLogprobList(std::size_t n_top, const tokenizer::Tokenizer* tokenizer)
      : n_top_(n_top), tokenizer_(tokenizer) {}
  void add(const request::PromptLogprobs& scored);
  std::string whole() const { return "[null" + members_ + "]"; }

 private:
  std::string member(const request::TokenLogprob& one, std::size_t rank) const;

  std::size_t n_top_;
  const tokenizer::Tokenizer* tokenizer_;
  std::string members_;
};

}  // namespace concertina::server::openai
