#include "server/dialects/anthropic_writer.h"

#include <fmt/format.h>

#include "server/dialects/anthropic_request.h"
#include "server/dialects/translation.h"

namespace concertina::server::dialects {

namespace {

using Kind = tools::Event::Kind;

std::string event(const char* type, const Json& fields) {
  Json data{{"type", type}};
  data.update(fields);
  return fmt::format("event: {}\ndata: {}\n\n", type, dumped(data));
}

// {"stop_reason", "stop_sequence"}.
Json stop_of(const openai::End& end) {
  const std::string_view reason = end.finish_reason == nullptr ? "" : end.finish_reason;
  Json sequence = Json::parse(end.stop_reason);  // or the id of a stop token, or null
  if (!sequence.is_string()) sequence = nullptr;
  const char* told = reason == "length"       ? "max_tokens"
                     : reason == "tool_calls" ? "tool_use"
                     : sequence.is_string()   ? "stop_sequence"
                                              : "end_turn";
  return {{"stop_reason", told}, {"stop_sequence", std::move(sequence)}};
}

const char* error_type(int status) {
  switch (status) {
    case 401:
      return "authentication_error";
    case 403:
      return "permission_error";
    case 404:
      return "not_found_error";
    case 413:
      return "request_too_large";
    case 429:
      return "rate_limit_error";
    case 503:
      return "overloaded_error";
    default:
      return status >= 500 ? "api_error" : "invalid_request_error";
  }
}

// A client whose thread is refused by this code sends the conversation itself from there on.
Json error_object(const ApiError& error) {
  Json out{{"type", error_type(error.status)}, {"message", error.message}};
  if (error.code == kThreadUnsupported)
    out["details"] = {{"error_code", kThreadUnsupported}, {"unsupported", Json::array({"thread"})}};
  return {{"error", std::move(out)}};
}

}  // namespace

http::Response anthropic_error(const ApiError& error) {
  http::Response response = error_response(error);
  Json body{{"type", "error"}};
  body.update(error_object(error));
  response.body = dumped(body);
  return response;
}

Json AnthropicWriter::message(Json content, Json stop, const openai::Usage& usage) const {
  return {{"id", id_},
          {"type", "message"},
          {"role", "assistant"},
          {"model", model_},
          {"content", std::move(content)},
          {"stop_reason", std::move(stop["stop_reason"])},
          {"stop_sequence", std::move(stop["stop_sequence"])},
          {"usage", {{"input_tokens", usage.prompt_tokens}, {"output_tokens", usage.completion_tokens}}}};
}

std::string AnthropicWriter::first(std::size_t, const openai::PromptView& prompt) {
  kept_ = Kept::kNothing;
  return event("message_start",
               {{"message", message(Json::array(), {{"stop_reason", nullptr}, {"stop_sequence", nullptr}},
                                    {prompt.n_tokens, 0, {}})}});
}

// A call that was cut off has input that is no JSON: what there is of it is dropped, as no client could read
// it.
Json AnthropicWriter::block_object() const {
  if (block_ == Block::kThinking) return {{"type", "thinking"}, {"thinking", text_}, {"signature", ""}};
  if (block_ == Block::kText) return {{"type", "text"}, {"text", text_}};
  Json input = Json::parse(text_, nullptr, false);
  if (!input.is_object()) input = Json::object();
  return {{"type", "tool_use"}, {"id", call_.id}, {"name", call_.name}, {"input", std::move(input)}};
}

std::string AnthropicWriter::open(Block block, const tools::Event& first) {
  std::string out = close();
  block_ = block;
  text_.clear();
  call_ = {first.call_id, first.text, {}};
  return out + event("content_block_start", {{"index", n_blocks_}, {"content_block", block_object()}});
}

std::string AnthropicWriter::close() {
  if (block_ == Block::kNone) return {};
  const std::string out = event("content_block_stop", {{"index", n_blocks_++}});
  if (kept_ == Kept::kBlocks) content_.push_back(block_object());
  block_ = Block::kNone;
  return out;
}

std::string AnthropicWriter::take(const tools::Event& taken) {
  if (taken.kind == Kind::kCallBegin) return open(Block::kToolUse, taken);
  if (taken.kind == Kind::kCallEnd) return close();
  const Block block = taken.kind == Kind::kReasoning   ? Block::kThinking
                      : taken.kind == Kind::kArguments ? Block::kToolUse
                                                       : Block::kText;
  std::string out = block_ == block ? "" : open(block, {});
  if (taken.text.empty()) return out;
  if (kept_ == Kept::kBlocks) text_ += taken.text;
  Json delta;
  if (block == Block::kThinking) delta = {{"type", "thinking_delta"}, {"thinking", taken.text}};
  if (block == Block::kText) delta = {{"type", "text_delta"}, {"text", taken.text}};
  if (block == Block::kToolUse) delta = {{"type", "input_json_delta"}, {"partial_json", taken.text}};
  return out + event("content_block_delta", {{"index", n_blocks_}, {"delta", std::move(delta)}});
}

std::string AnthropicWriter::delta(const openai::Piece& piece) {
  std::string out;
  for (const tools::Event& event : piece.events) out += take(event);
  if (piece.end.finish_reason != nullptr) end_ = piece.end;
  return out;
}

std::string AnthropicWriter::end(const openai::Usage& usage) {
  std::string out = close();
  out +=
      event("message_delta",
            {{"delta", stop_of(end_)},
             {"usage", {{"input_tokens", usage.prompt_tokens}, {"output_tokens", usage.completion_tokens}}}});
  return out + event("message_stop", Json::object());
}

std::string AnthropicWriter::failed(const ApiError& error) { return event("error", error_object(error)); }

std::string AnthropicWriter::whole(std::span<const openai::WholeChoice> choices, const openai::Usage& usage) {
  for (const tools::Event& event : choices[0].parts.events) take(event);
  close();
  return dumped(message(std::move(content_), stop_of(choices[0].end), usage));
}

}  // namespace concertina::server::dialects
