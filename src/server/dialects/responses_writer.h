#pragma once

#include "server/dialects/kept_items.h"
#include "server/openai/answer_writer.h"

namespace concertina::server::dialects {

// OpenAI's response objects and their events. One choice.
class ResponsesWriter : public openai::AnswerWriter {
 public:
  // `request`: the body as it came, of which a response repeats some fields.
  // `kept`: takes the items; null: nobody does.
  ResponsesWriter(const Json& request, const std::string& model, std::shared_ptr<KeptItems> kept);

  std::string first(std::size_t choice, std::span<const TokenId> prompt_ids) override;
  std::string delta(const openai::Piece& piece) override;
  std::string end(const openai::Usage& usage) override;
  std::string failed(const ApiError& error) override;
  std::string whole(std::span<const openai::WholeChoice> choices, const openai::Usage& usage) override;

 private:
  enum class Item { kNone, kReasoning, kMessage, kCall };

  std::string event(const char* type, Json fields);
  std::string take(const tools::Event& event);
  std::string open(Item item, const tools::Event& event);
  std::string close();
  std::string text_delta(const std::string& text);
  Json item_object(const char* status) const;
  Json part_object() const;
  Json place() const;  // of the item and its part
  Json response(const char* status, const openai::Usage* usage);

  const std::shared_ptr<KeptItems> kept_;
  Json response_;  // what stays the same of it
  Json output_ = Json::array();
  std::size_t sequence_number_ = 0;
  Item item_ = Item::kNone;
  std::string item_id_, text_;  // of the open item; text: its content or arguments
  openai::ToolCall call_;
  std::string finish_reason_;
};

}  // namespace concertina::server::dialects
