#pragma once

#include <string>

#include "server/openai/answer_writer.h"

namespace concertina::server::openai {

// OpenAI's completions and chat completions, to the letter.
class ChunkWriter : public AnswerWriter {
 public:
  ChunkWriter(Endpoint endpoint, const front::ModelInfo& model, IncludeUsage include_usage,
              ReturnTokenIds return_token_ids);

  std::string first(std::size_t choice, std::span<const TokenId> prompt_ids) override;
  std::string delta(const Delta& delta) override;
  std::string end(const Usage& usage) override;
  std::string failed(const ApiError& error) override;
  std::string whole(std::span<const WholeChoice> choices, const Usage& usage) override;

 private:
  std::string frame(const std::string& choices, const std::string& more) const;

  Endpoint endpoint_;
  IncludeUsage include_usage_;
  ReturnTokenIds return_token_ids_;
  std::string head_, whole_head_;  // up to "choices":
};

}  // namespace concertina::server::openai
