#include "server/openai/chunks.h"

#include <fmt/format.h>

#include <ctime>

namespace concertina::server::openai {

namespace {

constexpr const char* kDone = "data: [DONE]\n\n";

std::string id_list(const char* name, std::string_view ids) { return fmt::format(",\"{}\":[{}]", name, ids); }

std::string usage_object(const Usage& usage) {
  std::string details;
  if (usage.reasoning_tokens)
    details =
        fmt::format(R"(,"completion_tokens_details":{{"reasoning_tokens":{}}})", *usage.reasoning_tokens);
  return fmt::format(R"({{"prompt_tokens":{},"completion_tokens":{},"total_tokens":{}{}}})",
                     usage.prompt_tokens, usage.completion_tokens,
                     usage.prompt_tokens + usage.completion_tokens, details);
}

// vLLM's old name and its new one: clients look for either.
std::string reasoning_fields(const std::string& reasoning) {
  const std::string text = json_string(reasoning);
  return fmt::format(R"("reasoning":{},"reasoning_content":{})", text, text);
}

// The pieces of calls in one chunk, an entry for each call; the first of a call has its id and name.
std::string call_deltas(const tools::Events& events) {
  using Kind = tools::Event::Kind;
  struct Piece {
    std::size_t call;
    std::string id, name, arguments;  // id, name: as fields, of a call that begins
  };
  std::vector<Piece> pieces;
  for (const tools::Event& event : events) {
    if (event.kind != Kind::kCallBegin && event.kind != Kind::kArguments) continue;
    if (pieces.empty() || pieces.back().call != event.call) pieces.push_back({event.call, {}, {}, {}});
    Piece& piece = pieces.back();
    if (event.kind == Kind::kArguments) {
      piece.arguments += event.text;
    } else {
      piece.id = fmt::format(R"("id":{},"type":"function",)", json_string(event.call_id));
      piece.name = fmt::format(R"("name":{},)", json_string(event.text));
    }
  }
  std::string out;
  for (const Piece& piece : pieces) {
    out += fmt::format(R"({}{{"index":{},{}"function":{{{}"arguments":{}}}}})", out.empty() ? "" : ",",
                       piece.call, piece.id, piece.name, json_string(piece.arguments));
  }
  return out;
}

std::string chat_delta(const tools::Events& events, const char* finish_reason) {
  std::string content, reasoning;
  bool has_calls = false;
  for (const tools::Event& event : events) {
    if (event.kind == tools::Event::Kind::kContent) content += event.text;
    if (event.kind == tools::Event::Kind::kReasoning) reasoning += event.text;
    has_calls = has_calls || event.kind == tools::Event::Kind::kCallBegin ||
                event.kind == tools::Event::Kind::kArguments;
  }
  std::vector<std::string> fields;
  if (!reasoning.empty()) fields.push_back(reasoning_fields(reasoning));
  if (!content.empty()) fields.push_back("\"content\":" + json_string(content));
  if (has_calls) fields.push_back("\"tool_calls\":[" + call_deltas(events) + "]");
  if (fields.empty() && finish_reason == nullptr) fields.emplace_back(R"("content":"")");
  return fmt::format("{{{}}}", fmt::join(fields, ","));
}

std::string content_of(const tools::Events& events) {
  std::string content;
  for (const tools::Event& event : events) {
    if (event.kind == tools::Event::Kind::kContent) content += event.text;
  }
  return content;
}

std::string message(const AnswerParts& parts) {
  const bool has_none = parts.content.empty() && (!parts.calls.empty() || !parts.reasoning.empty());
  std::string out = fmt::format(R"({{"role":"assistant","content":{},"refusal":null)",
                                has_none ? "null" : json_string(parts.content));
  if (!parts.reasoning.empty()) out += "," + reasoning_fields(parts.reasoning);
  std::string calls;
  for (const ToolCall& call : parts.calls) {
    calls += fmt::format(R"({}{{"id":{},"type":"function","function":{{"name":{},"arguments":{}}}}})",
                         calls.empty() ? "" : ",", json_string(call.id), json_string(call.name),
                         json_string(call.arguments));
  }
  if (!calls.empty()) out += ",\"tool_calls\":[" + calls + "]";
  return out + "}";
}

}  // namespace

ChunkWriter::ChunkWriter(const Parameters& parameters, const front::ModelInfo& model)
    : endpoint_(parameters.endpoint),
      include_usage_(parameters.include_usage),
      continuous_usage_(parameters.output.continuous_usage),
      return_token_ids_(parameters.return_token_ids),
      timings_(parameters.output.timings),
      choice_(parameters.answer.choice) {
  const bool is_chat = endpoint_ == Endpoint::kChat;
  const char* prefix = is_chat ? "chatcmpl-" : "cmpl-";
  const std::string id = parameters.request_id.empty() ? random_id(prefix) : prefix + parameters.request_id,
                    name = json_string(model.served_name);
  const std::string fingerprint =
      model.system_fingerprint.empty() ? "null" : json_string(model.system_fingerprint);
  const auto head = [&](const char* object) {
    return fmt::format(
        R"({{"id":"{}","object":"{}","created":{},"model":{},"system_fingerprint":{},"choices":)", id, object,
        std::time(nullptr), name, fingerprint);
  };
  head_ = "data: " + head(is_chat ? "chat.completion.chunk" : "text_completion");
  whole_head_ = head(is_chat ? "chat.completion" : "text_completion");
}

// The call of a function that the request named is what it asked for: OpenAI's reason is "stop" then.
std::string ChunkWriter::end_members(const End& end) const {
  if (end.finish_reason == nullptr) return R"("finish_reason":null)";
  const bool is_asked_for =
      choice_ == AnswerParameters::Choice::kNamed && end.finish_reason == std::string_view("tool_calls");
  // vLLM's name for what ended it, and SGLang's.
  return fmt::format(R"("finish_reason":"{}","stop_reason":{},"matched_stop":{})",
                     is_asked_for ? "stop" : end.finish_reason, end.stop_reason, end.stop_reason);
}

std::string ChunkWriter::frame(const std::string& choices, const std::string& more,
                               const Usage& usage) const {
  std::string out = head_ + choices + more;
  if (continuous_usage_ == ContinuousUsage::kYes) {
    out += ",\"usage\":" + usage_object(usage);
  } else if (include_usage_ == IncludeUsage::kYes) {
    out += ",\"usage\":null";
  }
  if (timings_ == Timings::kYes) out += ",\"timings\":" + timings_object(usage);
  return out + "}\n\n";
}

// A chat's role; nothing for completions.
std::string ChunkWriter::first(std::size_t choice, const PromptView& prompt) {
  if (endpoint_ == Endpoint::kCompletions) return {};
  std::string ids, more;
  if (return_token_ids_ == ReturnTokenIds::kYes) {
    more = id_list("prompt_token_ids", prompt.ids);
    ids = id_list("token_ids", {}) + more;
  }
  return frame(
      fmt::format(
          R"([{{"index":{},"delta":{{"role":"assistant","content":""}},"logprobs":null,"finish_reason":null{}}}])",
          choice, ids),
      more, {prompt.n_tokens, 0, {}});
}

std::string ChunkWriter::delta(const Piece& piece) {
  std::string ids, more;
  if (return_token_ids_ == ReturnTokenIds::kYes) {
    ids = id_list("token_ids", joined_ids(piece.ids));
    if (!piece.prompt.ids.empty()) {
      more = id_list("prompt_token_ids", piece.prompt.ids);
      ids += more;
    }
  }
  const std::string text = endpoint_ == Endpoint::kCompletions
                               ? "\"text\":" + json_string(content_of(piece.events))
                               : "\"delta\":" + chat_delta(piece.events, piece.end.finish_reason);
  return frame(fmt::format(R"([{{"index":{},{},"logprobs":{},{}{}}}])", piece.choice, text, piece.logprobs,
                           end_members(piece.end), ids),
               more, piece.usage);
}

std::string ChunkWriter::end(const Usage& usage) {
  if (include_usage_ == IncludeUsage::kNo) return kDone;
  return fmt::format("{}[],\"usage\":{}}}\n\n{}", head_, usage_object(usage), kDone);
}

std::string ChunkWriter::failed(const ApiError& error) {
  return "data: " + error_body(error) + "\n\n" + kDone;
}

std::string ChunkWriter::whole_choice(std::size_t index, const WholeChoice& choice) const {
  const std::string content = endpoint_ == Endpoint::kCompletions
                                  ? "\"text\":" + json_string(choice.parts.content)
                                  : "\"message\":" + message(choice.parts);
  std::string out = fmt::format(R"({{"index":{},{},"logprobs":{},{})", index, content, choice.logprobs,
                                end_members(choice.end));
  if (return_token_ids_ == ReturnTokenIds::kYes)
    out += id_list("token_ids", joined_ids(choice.ids)) + id_list("prompt_token_ids", choice.prompt.ids);
  if (endpoint_ == Endpoint::kCompletions) out += ",\"prompt_logprobs\":" + choice.prompt_logprobs;
  return out + "}";
}

std::string ChunkWriter::whole(std::span<const WholeChoice> choices, const Usage& usage) {
  std::string out = whole_head_ + "[";
  for (std::size_t i = 0; i < choices.size(); ++i) {
    if (i > 0) out += ",";
    out += whole_choice(i, choices[i]);
  }
  out += "],\"usage\":" + usage_object(usage);
  if (return_token_ids_ == ReturnTokenIds::kYes) out += id_list("prompt_token_ids", choices[0].prompt.ids);
  if (timings_ == Timings::kYes) out += ",\"timings\":" + timings_object(usage);
  if (endpoint_ == Endpoint::kChat) out += ",\"prompt_logprobs\":" + choices[0].prompt_logprobs;
  return out + "}";
}

}  // namespace concertina::server::openai
