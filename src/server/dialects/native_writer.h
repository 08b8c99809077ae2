#pragma once

#include "server/openai/answer_writer.h"

namespace concertina::server::dialects {

// Answers of llama-server's own /completion. One choice.
class LlamaWriter : public openai::AnswerWriter {
 public:
  explicit LlamaWriter(std::string model) : model_(std::move(model)) {}

  std::string first(std::size_t, const openai::PromptView&) override { return {}; }
  std::string delta(const openai::Piece& piece) override;
  std::string end(const openai::Usage& usage) override;
  std::string failed(const ApiError& error) override;
  std::string whole(std::span<const openai::WholeChoice> choices, const openai::Usage& usage) override;

 private:
  // With all that is told once an answer is over.
  Json last(const std::string& content, const openai::Usage& usage) const;

  const std::string model_;
  openai::End end_;
};

// Of SGLang's own /generate. One choice, whole.
class SglangWriter : public openai::AnswerWriter {
 public:
  explicit SglangWriter(std::string id) : id_(std::move(id)) {}

  std::string first(std::size_t, const openai::PromptView&) override { return {}; }
  std::string delta(const openai::Piece&) override { return {}; }
  std::string end(const openai::Usage&) override { return {}; }
  std::string failed(const ApiError& error) override { return error_body(error); }
  std::string whole(std::span<const openai::WholeChoice> choices, const openai::Usage& usage) override;

 private:
  const std::string id_;
};

}  // namespace concertina::server::dialects
