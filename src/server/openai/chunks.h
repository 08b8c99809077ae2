#pragma once

#include <string>

#include "server/openai/answer_writer.h"

namespace concertina::server::openai {

// OpenAI's completions and chat completions, to the letter; stop_reason, token ids and prompt_logprobs are
// vLLM's.
class ChunkWriter : public AnswerWriter {
 public:
  ChunkWriter(const Parameters& parameters, const front::ModelInfo& model);

  std::string first(std::size_t choice, const PromptView& prompt) override;
  std::string delta(const Piece& piece) override;
  std::string end(const Usage& usage) override;
  std::string failed(const ApiError& error) override;
  std::string whole(std::span<const WholeChoice> choices, const Usage& usage) override;

 private:
  std::string end_members(const End& end) const;
  std::string frame(const std::string& choices, const std::string& more, const Usage& usage) const;
  std::string whole_choice(std::size_t index, const WholeChoice& choice) const;

  Endpoint endpoint_;
  IncludeUsage include_usage_;
  ContinuousUsage continuous_usage_;
  ReturnTokenIds return_token_ids_;
  const Timings timings_;
  const AnswerParameters::Choice choice_;
  std::string head_, whole_head_;  // up to "choices":
};

}  // namespace concertina::server::openai
