#pragma once

#include <span>
#include <string>
#include <vector>

#include "server/openai/token_names.h"

namespace concertina::server::openai {

std::size_t n_characters(std::string_view text);  // code points of UTF-8

// The log-probabilities of a choice's tokens, kept as numbers until they are told: as JSON in OpenAI's shape
// of the endpoint, of a chat a list of objects, of a completion four lists. A logprob is written so that it
// reads back as the same float; minus infinity, which JSON has not, as -9999.0 (vLLM's), NaN as null.
class LogprobLists {
 public:
  LogprobLists(Endpoint endpoint, TokensAs as) : endpoint_(endpoint), as_(as) {}

  // `logprobs`: the token's own, then the highest; none where there are none (a prompt's first token).
  // `offset`: of its text in the answer's, in characters.
  void add(TokenId token, std::span<const request::TokenLogprob> logprobs, std::size_t offset);
  bool empty() const { return rows_.empty(); }
  std::size_t n_logprobs() const { return logprobs_.size(); }
  std::string take(TokenNames& names);  // what was added since the last call;
                                        // "null" if nothing was

 private:
  struct Row {
    TokenId token = 0;
    std::size_t offset = 0, n_logprobs = 0;
  };
  using Logprobs = std::span<const request::TokenLogprob>;
  std::string chat(TokenNames& names) const;
  std::string completion(TokenNames& names) const;
  void append_object(const request::TokenLogprob& one, TokenNames& names, std::string& out) const;
  void append_top(Logprobs logprobs, TokenNames& names, std::string& out) const;

  Endpoint endpoint_;
  TokensAs as_;
  std::vector<Row> rows_;
  std::vector<request::TokenLogprob> logprobs_;  // of all rows
};

// vLLM's prompt_logprobs: a list with null for the first token, then for each an object of ids, the token's
// own first: {"278": {"logprob": -1.5, "rank": 3, "decoded_token": "the"}}.
class PromptLogprobList {
 public:
  explicit PromptLogprobList(std::size_t n_top) : n_top_(n_top) {}
  void add(const request::PromptLogprobs& scored) { scored_.push_back(scored); }
  std::size_t n_logprobs() const;
  std::string whole(TokenNames& names) const;

 private:
  void append_row(const request::PromptLogprobs& scored, std::size_t i, TokenNames& names,
                  std::string& out) const;

  std::size_t n_top_;
  std::vector<request::PromptLogprobs> scored_;
};

}  // namespace concertina::server::openai
