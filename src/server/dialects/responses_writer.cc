#include "server/dialects/responses_writer.h"

#include <fmt/format.h>

#include <ctime>

#include "server/dialects/translation.h"

namespace concertina::server::dialects {

namespace {
using Kind = tools::Event::Kind;

std::string usage_object(const openai::Usage& usage) {
  return fmt::format(R"({{"input_tokens":{},"input_tokens_details":{{"cached_tokens":0}},"output_tokens":{},)"
                     R"("output_tokens_details":{{"reasoning_tokens":{}}},"total_tokens":{}}})",
                     usage.prompt_tokens, usage.completion_tokens, usage.reasoning_tokens.value_or(0),
                     usage.prompt_tokens + usage.completion_tokens);
}

}  // namespace

std::string repeated_fields(const Json& request) {
  const std::pair<const char*, const char*> fields[] = {{"instructions", "null"},
                                                        {"max_output_tokens", "null"},
                                                        {"max_tool_calls", "null"},
                                                        {"parallel_tool_calls", "true"},
                                                        {"reasoning", R"({"effort":null,"summary":null})"},
                                                        {"temperature", "1.0"},
                                                        {"text", R"({"format":{"type":"text"}})"},
                                                        {"tool_choice", "\"auto\""},
                                                        {"tools", "[]"},
                                                        {"top_p", "1.0"},
                                                        {"user", "null"},
                                                        {"metadata", "{}"}};
  std::string out;
  for (const auto& [name, absent] : fields) {
    const Json* value = member(request, name);
    out += fmt::format(",\"{}\":", name);
    out += value == nullptr ? absent : dumped(*value);
  }
  return out;
}

ResponsesWriter::ResponsesWriter(std::shared_ptr<const std::string> repeated, const std::string& model,
                                 std::shared_ptr<KeptItems> kept)
    : repeated_(std::move(repeated)),
      kept_(std::move(kept)),
      head_(fmt::format(R"({{"id":"{}","object":"response","created_at":{},"background":false,"status":)",
                        openai::random_id("resp_"), std::time(nullptr))),
      model_(openai::json_string(model)) {}

// The event's object is still open.
void ResponsesWriter::begin_event(const char* type, std::string& out) {
  fmt::format_to(std::back_inserter(out), "event: {}\ndata: {{\"type\":\"{}\",\"sequence_number\":{}", type,
                 type, sequence_number_++);
}

namespace {
constexpr const char* kEnd = "}\n\n";
}

void ResponsesWriter::append_response(const char* status, const openai::Usage* usage,
                                      const std::string& error, std::string& out) const {
  const bool is_cut = std::string_view(status) == "incomplete";
  out += head_;
  fmt::format_to(std::back_inserter(out),
                 R"("{}","error":{},"incomplete_details":{},"model":{},"previous_response_id":null,)"
                 R"("store":false,"truncation":"disabled","usage":{},"output":[)",
                 status, error.empty() ? "null" : error,
                 is_cut ? R"({"reason":"max_output_tokens"})" : "null", model_,
                 usage == nullptr ? "null" : usage_object(*usage));
  out += output_;
  out += "]";
  out += *repeated_;
  out += "}";
}

std::string ResponsesWriter::first(std::size_t, const openai::PromptView&) {
  std::string out;
  out.reserve(2 * (repeated_->size() + 1024));
  for (const char* type : {"response.created", "response.in_progress"}) {
    begin_event(type, out);
    out += ",\"response\":";
    append_response("in_progress", nullptr, {}, out);
    out += kEnd;
  }
  return out;
}

std::string ResponsesWriter::part_object() const {
  if (item_ == Item::kReasoning) return R"({"type":"reasoning_text","text":")" + text_ + "\"}";
  return R"({"type":"output_text","text":")" + text_ + R"(","annotations":[],"logprobs":[]})";
}

std::string ResponsesWriter::item_object(const char* status) const {
  const std::string head = fmt::format(R"("id":"{}","status":"{}")", item_id_, status);
  if (item_ == Item::kCall)
    return R"({"type":"function_call",)" + head + call_ + R"(,"arguments":")" + text_ + "\"}";
  const bool is_done = std::string_view(status) != "in_progress";
  const std::string content = R"(,"content":[)" + (is_done ? part_object() : std::string()) + "]}";
  if (item_ == Item::kReasoning) return R"({"type":"reasoning",)" + head + R"(,"summary":[])" + content;
  return R"({"type":"message",)" + head + R"(,"role":"assistant")" + content;
}

std::string ResponsesWriter::place() const {
  return fmt::format(R"(,"item_id":"{}","output_index":{}{})", item_id_, n_items_,
                     item_ == Item::kCall ? "" : R"(,"content_index":0)");
}

void ResponsesWriter::open(Item item, const tools::Event& first, std::string& out) {
  close(out);
  item_ = item;
  text_.clear();
  item_id_ = openai::random_id(item == Item::kCall ? "fc_" : item == Item::kReasoning ? "rs_" : "msg_");
  if (item == Item::kCall) {
    call_name_ = openai::json_string(first.text);
    call_ = fmt::format(R"(,"call_id":{},"name":{})", openai::json_string(first.call_id), call_name_);
  }
  begin_event("response.output_item.added", out);
  out += fmt::format(R"(,"output_index":{},"item":)", n_items_) + item_object("in_progress") + kEnd;
  if (item == Item::kCall) return;
  begin_event("response.content_part.added", out);
  out += place() + ",\"part\":" + part_object() + kEnd;
}

void ResponsesWriter::close_call(std::string& out) {
  begin_event("response.function_call_arguments.done", out);
  out += place() + ",\"name\":" + call_name_ + ",\"arguments\":\"" + text_ + "\"" + kEnd;
}

void ResponsesWriter::close_text(std::string& out) {
  const bool is_message = item_ == Item::kMessage;
  begin_event(is_message ? "response.output_text.done" : "response.reasoning_text.done", out);
  out += place() + ",\"text\":\"" + text_ + (is_message ? R"(","logprobs":[])" : "\"") + kEnd;
  begin_event("response.content_part.done", out);
  out += place() + ",\"part\":" + part_object() + kEnd;
}

void ResponsesWriter::close(std::string& out) {
  if (item_ == Item::kNone) return;
  item_ == Item::kCall ? close_call(out) : close_text(out);
  const std::string item = item_object(finish_reason_ == "length" ? "incomplete" : "completed");
  begin_event("response.output_item.done", out);
  out += fmt::format(R"(,"output_index":{},"item":)", n_items_) + item + kEnd;
  if (kept_ != nullptr) kept_->keep(item_id_, item);
  if (n_items_++ > 0) output_ += ",";
  output_ += item;
  item_ = Item::kNone;
}

void ResponsesWriter::text_delta(const std::string& text, std::string& out) {
  const std::size_t before = text_.size();
  openai::append_escaped(text_, text);
  begin_event(item_ == Item::kCall        ? "response.function_call_arguments.delta"
              : item_ == Item::kReasoning ? "response.reasoning_text.delta"
                                          : "response.output_text.delta",
              out);
  out += place() + ",\"delta\":\"";
  out.append(text_, before);
  out += item_ == Item::kMessage ? R"(","logprobs":[])" : "\"";
  out += kEnd;
}

void ResponsesWriter::take(const tools::Event& event, std::string& out) {
  if (event.kind == Kind::kCallBegin) return open(Item::kCall, event, out);
  if (event.kind == Kind::kArguments) return event.text.empty() ? void() : text_delta(event.text, out);
  if (event.kind == Kind::kCallEnd) return close(out);
  const Item item = event.kind == Kind::kReasoning ? Item::kReasoning : Item::kMessage;
  if (item_ != item) open(item, {}, out);
  text_delta(event.text, out);
}

std::string ResponsesWriter::delta(const openai::Piece& piece) {
  std::string out;
  for (const tools::Event& event : piece.events) take(event, out);
  if (piece.end.finish_reason != nullptr) finish_reason_ = piece.end.finish_reason;
  return out;
}

const char* ResponsesWriter::final_status() const {
  return finish_reason_ == "length" ? "incomplete" : "completed";
}

std::string ResponsesWriter::end(const openai::Usage& usage) {
  std::string out;
  close(out);
  begin_event(finish_reason_ == "length" ? "response.incomplete" : "response.completed", out);
  out += ",\"response\":";
  append_response(final_status(), &usage, {}, out);
  return out + kEnd;
}

std::string ResponsesWriter::failed(const ApiError& error) {
  std::string out;
  close(out);
  begin_event("response.failed", out);
  out += ",\"response\":";
  append_response("failed", nullptr,
                  R"({"code":"server_error","message":)" + openai::json_string(error.message) + "}", out);
  return out + kEnd;
}

std::string ResponsesWriter::whole(std::span<const openai::WholeChoice> choices, const openai::Usage& usage) {
  const openai::WholeChoice& choice = choices[0];
  std::string events;  // of a stream: nobody reads them
  for (const tools::Event& event : choice.parts.events) take(event, events), events.clear();
  finish_reason_ = choice.end.finish_reason;
  close(events);
  std::string out;
  append_response(final_status(), &usage, {}, out);
  return out;
}

}  // namespace concertina::server::dialects
