#pragma once

#include <memory>
#include <string>

#include "server/openai/tool_fields.h"

namespace concertina::server::openai {

// One choice's text, taken apart as its request wants it.
class AnswerReader {
 public:
  // Both outlive it.
  AnswerReader(const AnswerParameters& parameters, const AnswerFormats& formats)
      : parameters_(parameters), formats_(formats), parser_(make_answer_parser(parameters, formats)) {}

  // The text of the next token. What comes of it for clients: no marks, and calls with their ids.
  tools::Events read(const std::string& text, tools::End end);

  bool is_over() const { return is_over_; }  // no more is wanted: its first call was to be the last
  bool has_calls() const { return n_calls_ > 0; }
  std::size_t n_reasoning_tokens() const { return n_reasoning_tokens_; }

 private:
  bool is_shown(const tools::Event& event) const;

  const AnswerParameters& parameters_;
  const AnswerFormats& formats_;
  const std::unique_ptr<tools::AnswerParser> parser_;
  std::size_t n_calls_ = 0, n_reasoning_tokens_ = 0;
  bool is_over_ = false;
};

}  // namespace concertina::server::openai
