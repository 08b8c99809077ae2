#pragma once

#include "server/dialects/kept_items.h"
#include "server/openai/answer_writer.h"

namespace concertina::server::dialects {

// The fields of a request that a response repeats, or their defaults, as JSON members with a comma before
// each. Made with the request, beside the event loop where its body is large: its tools may be megabytes.
std::string repeated_fields(const Json& request);

// OpenAI's response objects and their events, written as text: what has come once is escaped once. One
// choice.
class ResponsesWriter : public openai::AnswerWriter {
 public:
  // `kept`: takes the items; null: nobody does.
  ResponsesWriter(std::shared_ptr<const std::string> repeated, const std::string& model,
                  std::shared_ptr<KeptItems> kept);

  std::string first(std::size_t choice, const openai::PromptView& prompt) override;
  std::string delta(const openai::Piece& piece) override;
  std::string end(const openai::Usage& usage) override;
  std::string failed(const ApiError& error) override;
  std::string whole(std::span<const openai::WholeChoice> choices, const openai::Usage& usage) override;

 private:
  enum class Item { kNone, kReasoning, kMessage, kCall };

  void begin_event(const char* type, std::string& out);
  void take(const tools::Event& event, std::string& out);
  void open(Item item, const tools::Event& event, std::string& out);
  void close(std::string& out);
  void close_call(std::string& out);
  void close_text(std::string& out);
  void text_delta(const std::string& text, std::string& out);
  std::string item_object(const char* status) const;
  std::string part_object() const;
  std::string place() const;  // of the item and its part, as members
  void append_response(const char* status, const openai::Usage* usage, const std::string& error,
                       std::string& out) const;
  const char* final_status() const;

  const std::shared_ptr<const std::string> repeated_;
  const std::shared_ptr<KeptItems> kept_;
  const std::string head_;  // of every response object, up to its status
  const std::string model_;
  std::string output_;  // items that are closed
  std::size_t n_items_ = 0, sequence_number_ = 0;
  Item item_ = Item::kNone;
  std::string item_id_, text_;    // of the open item; text: its content or arguments, escaped
  std::string call_, call_name_;  // of a call: members of its name and id; its name, quoted
  std::string finish_reason_;
};

}  // namespace concertina::server::dialects
