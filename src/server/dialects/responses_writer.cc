#include "server/dialects/responses_writer.h"

#include <fmt/format.h>

#include <ctime>

#include "server/dialects/translation.h"

namespace concertina::server::dialects {

namespace {
using Kind = tools::Event::Kind;

Json usage_object(const openai::Usage& usage) {
  return {{"input_tokens", usage.prompt_tokens},
          {"input_tokens_details", {{"cached_tokens", 0}}},
          {"output_tokens", usage.completion_tokens},
          {"output_tokens_details", {{"reasoning_tokens", usage.reasoning_tokens.value_or(0)}}},
          {"total_tokens", usage.prompt_tokens + usage.completion_tokens}};
}

// A field as the request had it, or its default.
void repeat(const Json& request, const char* name, Json absent, Json& out) {
  const Json* value = member(request, name);
  out[name] = value == nullptr ? std::move(absent) : *value;
}

}  // namespace

ResponsesWriter::ResponsesWriter(const Json& request, const std::string& model,
                                 std::shared_ptr<KeptItems> kept)
    : kept_(std::move(kept)) {
  response_ = {{"id", openai::random_id("resp_")},
               {"object", "response"},
               {"created_at", std::time(nullptr)},
               {"status", nullptr},
               {"background", false},
               {"error", nullptr},
               {"incomplete_details", nullptr}};
  repeat(request, "instructions", nullptr, response_);
  repeat(request, "max_output_tokens", nullptr, response_);
  repeat(request, "max_tool_calls", nullptr, response_);
  response_["model"] = model;
  response_["output"] = Json::array();
  repeat(request, "parallel_tool_calls", true, response_);
  response_["previous_response_id"] = nullptr;
  repeat(request, "reasoning", {{"effort", nullptr}, {"summary", nullptr}}, response_);
  response_["store"] = false;
  repeat(request, "temperature", 1.0, response_);
  repeat(request, "text", {{"format", {{"type", "text"}}}}, response_);
  repeat(request, "tool_choice", "auto", response_);
  repeat(request, "tools", Json::array(), response_);
  repeat(request, "top_p", 1.0, response_);
  response_["truncation"] = "disabled";
  response_["usage"] = nullptr;
  repeat(request, "user", nullptr, response_);
  repeat(request, "metadata", Json::object(), response_);
}

std::string ResponsesWriter::event(const char* type, Json fields) {
  Json data{{"type", type}, {"sequence_number", sequence_number_++}};
  data.update(fields);
  return fmt::format("event: {}\ndata: {}\n\n", type, dumped(data));
}

Json ResponsesWriter::response(const char* status, const openai::Usage* usage) {
  Json out = response_;
  out["status"] = status;
  out["output"] = output_;
  if (usage != nullptr) out["usage"] = usage_object(*usage);
  if (out["status"] == "incomplete") out["incomplete_details"] = {{"reason", "max_output_tokens"}};
  return out;
}

std::string ResponsesWriter::first(std::size_t, std::span<const TokenId>) {
  const Json begun{{"response", response("in_progress", nullptr)}};
  const std::string created = event("response.created", begun);
  return created + event("response.in_progress", begun);
}

Json ResponsesWriter::part_object() const {
  if (item_ == Item::kReasoning) return {{"type", "reasoning_text"}, {"text", text_}};
  return {
      {"type", "output_text"}, {"text", text_}, {"annotations", Json::array()}, {"logprobs", Json::array()}};
}

Json ResponsesWriter::item_object(const char* status) const {
  const bool is_done = std::string_view(status) != "in_progress";
  if (item_ == Item::kCall)
    return {{"type", "function_call"}, {"id", item_id_},     {"call_id", call_.id},
            {"name", call_.name},      {"arguments", text_}, {"status", status}};
  const Json content = is_done ? Json::array({part_object()}) : Json::array();
  if (item_ == Item::kReasoning)
    return {{"type", "reasoning"},
            {"id", item_id_},
            {"summary", Json::array()},
            {"content", content},
            {"status", status}};
  return {
      {"type", "message"}, {"id", item_id_}, {"status", status}, {"role", "assistant"}, {"content", content}};
}

Json ResponsesWriter::place() const {
  Json out{{"item_id", item_id_}, {"output_index", output_.size()}};
  if (item_ != Item::kCall) out["content_index"] = 0;
  return out;
}

std::string ResponsesWriter::open(Item item, const tools::Event& first) {
  std::string out = close();
  item_ = item;
  text_.clear();
  item_id_ = openai::random_id(item == Item::kCall ? "fc_" : item == Item::kReasoning ? "rs_" : "msg_");
  call_ = {first.call_id, first.text, {}};
  out += event("response.output_item.added",
               {{"output_index", output_.size()}, {"item", item_object("in_progress")}});
  if (item == Item::kCall) return out;
  Json added = place();
  added["part"] = part_object();
  return out + event("response.content_part.added", std::move(added));
}

std::string ResponsesWriter::close() {
  if (item_ == Item::kNone) return {};
  Json done = place();
  std::string out;
  if (item_ == Item::kCall) {
    done["name"] = call_.name;
    done["arguments"] = text_;
    out = event("response.function_call_arguments.done", std::move(done));
  } else {
    Json part = place();
    part["part"] = part_object();
    done["text"] = text_;
    if (item_ == Item::kMessage) done["logprobs"] = Json::array();
    out = event(item_ == Item::kMessage ? "response.output_text.done" : "response.reasoning_text.done",
                std::move(done));
    out += event("response.content_part.done", std::move(part));
  }
  const Json item = item_object(finish_reason_ == "length" ? "incomplete" : "completed");
  out += event("response.output_item.done", {{"output_index", output_.size()}, {"item", item}});
  if (kept_ != nullptr) kept_->keep(item);
  output_.push_back(item);
  item_ = Item::kNone;
  return out;
}

std::string ResponsesWriter::text_delta(const std::string& text) {
  text_ += text;
  Json fields = place();
  fields["delta"] = text;
  if (item_ == Item::kMessage) fields["logprobs"] = Json::array();
  return event(item_ == Item::kCall        ? "response.function_call_arguments.delta"
               : item_ == Item::kReasoning ? "response.reasoning_text.delta"
                                           : "response.output_text.delta",
               std::move(fields));
}

std::string ResponsesWriter::take(const tools::Event& event) {
  if (event.kind == Kind::kCallBegin) return open(Item::kCall, event);
  if (event.kind == Kind::kArguments) return event.text.empty() ? "" : text_delta(event.text);
  if (event.kind == Kind::kCallEnd) return close();
  const Item item = event.kind == Kind::kReasoning ? Item::kReasoning : Item::kMessage;
  std::string out = item_ == item ? "" : open(item, {});
  return out + text_delta(event.text);
}

std::string ResponsesWriter::delta(const openai::Piece& piece) {
  std::string out;
  for (const tools::Event& event : piece.events) out += take(event);
  if (piece.end.finish_reason != nullptr) finish_reason_ = piece.end.finish_reason;
  return out;
}

std::string ResponsesWriter::end(const openai::Usage& usage) {
  const bool is_cut = finish_reason_ == "length";
  std::string out = close();
  out += event(is_cut ? "response.incomplete" : "response.completed",
               {{"response", response(is_cut ? "incomplete" : "completed", &usage)}});
  return out;
}

std::string ResponsesWriter::failed(const ApiError& error) {
  std::string out = close();
  Json failed = response("failed", nullptr);
  failed["error"] = {{"code", "server_error"}, {"message", error.message}};
  return out + event("response.failed", {{"response", std::move(failed)}});
}

std::string ResponsesWriter::whole(std::span<const openai::WholeChoice> choices, const openai::Usage& usage) {
  const openai::WholeChoice& choice = choices[0];
  for (const tools::Event& event : choice.parts.events) take(event);
  finish_reason_ = choice.end.finish_reason;
  close();
  return dumped(response(finish_reason_ == "length" ? "incomplete" : "completed", &usage));
}

}  // namespace concertina::server::dialects
