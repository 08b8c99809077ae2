#pragma once

#include <optional>
#include <string>
#include <vector>

#include "server/openai/answer_reader.h"
#include "server/openai/answer_writer.h"
#include "server/openai/logprobs.h"
#include "server/openai/stop_strings.h"
#include "tokenizer/streaming_detokenizer.h"

namespace concertina::server::openai {

// One choice of an answer: its tokens become text and log-probabilities, as its request wants them.
class Choice {
 public:
  // The references outlive it; `tokenizer` null: no text.
  Choice(std::size_t index, std::size_t prompt_index, const Parameters& parameters,
         const tokenizer::Tokenizer* tokenizer, const AnswerFormats& formats);

  struct Step {
    std::string text;  // to emit now
    End end;
    bool is_hit = false;  // by a stop string: nothing that comes after counts
  };
  // The next token; a reason other than kNone: the last one. No text where there is no tokenizer.
  Step push(TokenId token, request::FinishReason reason, std::span<const request::TokenLogprob> logprobs);
  void push_prompt(const request::PromptLogprobs& scored);
  // The prompt's text, once, and where it is to be echoed: it goes before the answer's.
  std::string take_echo();

  const std::vector<TokenId>& prompt() const { return prompt_; }
  std::size_t prompt_index() const { return prompt_index_; }

  const std::size_t index;
  RequestId request;
  AnswerReader answer;       // of the text
  AnswerParts parts;         // of a whole answer
  std::vector<TokenId> ids;  // all (whole), or those of the next chunk (stream)
  LogprobLists logprobs;     // likewise
  std::optional<PromptLogprobList> prompt_logprobs;
  std::size_t n_tokens = 0;
  Time first_token{}, last_token{};
  End end;
  enum class Prompt { kNotSent, kSent } prompt_ids = Prompt::kNotSent;

 private:
  bool echoes_logprobs() const;
  void begin_echoed_logprobs();
  bool is_stop_token(TokenId token) const;
  std::string decode(TokenId token, bool is_last);
  End end_of(TokenId token, request::FinishReason reason) const;

  const Parameters& parameters_;
  const std::vector<TokenId>& prompt_;
  const std::size_t prompt_index_;
  std::optional<std::string> echo_;  // until it is taken
  std::optional<tokenizer::StreamingDetokenizer> detokenizer_, prompt_detokenizer_;
  StopStrings stop_;
  std::size_t n_characters_ = 0, n_prompt_characters_ = 0;  // of the text so far; of the prompt's
  enum class Echoed : std::uint8_t { kNothing, kFirst } echoed_logprobs_ = Echoed::kNothing;
};

}  // namespace concertina::server::openai
