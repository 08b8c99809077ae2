#pragma once

#include "server/openai/answer_writer.h"

namespace concertina::server::dialects {

// Anthropic's messages and their events. One choice.
class AnthropicWriter : public openai::AnswerWriter {
 public:
  explicit AnthropicWriter(std::string model) : id_(openai::random_id("msg_")), model_(std::move(model)) {}

  std::string first(std::size_t choice, const openai::PromptView& prompt) override;
  std::string delta(const openai::Piece& piece) override;
  std::string end(const openai::Usage& usage) override;
  std::string failed(const ApiError& error) override;
  std::string whole(std::span<const openai::WholeChoice> choices, const openai::Usage& usage) override;

 private:
  enum class Block { kNone, kThinking, kText, kToolUse };

  std::string take(const tools::Event& event);
  std::string open(Block block, const tools::Event& event);
  std::string close();
  Json block_object() const;  // with what it has so far
  Json message(Json content, Json stop, const openai::Usage& usage) const;

  const std::string id_, model_;
  // Of a stream blocks are counted, and what was sent is not kept.
  enum class Kept { kNothing, kBlocks } kept_ = Kept::kBlocks;
  Json content_ = Json::array();
  std::size_t n_blocks_ = 0;
  Block block_ = Block::kNone;
  std::string text_;  // of the open block, or its input's
  openai::ToolCall call_;
  openai::End end_;
};

// {"type": "error", "error": {"type", "message"}}.
http::Response anthropic_error(const ApiError& error);

}  // namespace concertina::server::dialects
