#include "server/openai/chunks.h"

#include <fmt/format.h>

#include <ctime>
#include <random>

namespace concertina::server::openai {

std::string json_string(const std::string& text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

namespace {

std::string random_id(Endpoint endpoint) {
  std::random_device device;
  return fmt::format("{}{:08x}{:08x}{:08x}", endpoint == Endpoint::kChat ? "chatcmpl-" : "cmpl-", device(),
                     device(), device());
}

std::string id_list(const char* name, std::span<const TokenId> ids) {
  return fmt::format(",\"{}\":[{}]", name, fmt::join(ids, ","));
}

std::string usage_object(const Usage& usage) {
  return fmt::format(R"({{"prompt_tokens":{},"completion_tokens":{},"total_tokens":{}}})",
                     usage.prompt_tokens, usage.completion_tokens,
                     usage.prompt_tokens + usage.completion_tokens);
}

std::string reason_text(const char* reason) {
  return reason == nullptr ? "null" : fmt::format("\"{}\"", reason);
}

std::string end_members(const End& end) {
  const std::string reason = fmt::format(R"("finish_reason":{})", reason_text(end.finish_reason));
  return end.finish_reason == nullptr ? reason
                                      : fmt::format(R"({},"stop_reason":{})", reason, end.stop_reason);
}

}  // namespace

ChunkWriter::ChunkWriter(const Parameters& parameters, const std::string& model)
    : endpoint_(parameters.endpoint),
      include_usage_(parameters.include_usage),
      continuous_usage_(parameters.output.continuous_usage),
      return_token_ids_(parameters.return_token_ids),
      tells_prompt_logprobs_(parameters.output.n_prompt_logprobs.has_value()) {
  const std::string id = random_id(endpoint_), name = json_string(model);
  const auto head = [&](const char* object) {
    return fmt::format(R"({{"id":"{}","object":"{}","created":{},"model":{},"choices":)", id, object,
                       std::time(nullptr), name);
  };
  head_ = "data: " + head(endpoint_ == Endpoint::kChat ? "chat.completion.chunk" : "text_completion");
  whole_head_ = head(endpoint_ == Endpoint::kChat ? "chat.completion" : "text_completion");
}

std::string ChunkWriter::frame(const std::string& choices, const std::string& more,
                               const Usage& usage) const {
  std::string out = head_ + choices + more;
  if (continuous_usage_ == ContinuousUsage::kYes) {
    out += ",\"usage\":" + usage_object(usage);
  } else if (include_usage_ == IncludeUsage::kYes) {
    out += ",\"usage\":null";
  }
  return out + "}\n\n";
}

std::string ChunkWriter::first(std::size_t choice, std::span<const TokenId> prompt_ids) const {
  if (endpoint_ == Endpoint::kCompletions) return {};
  std::string ids, more;
  if (return_token_ids_ == ReturnTokenIds::kYes) {
    ids = id_list("token_ids", {}) + id_list("prompt_token_ids", prompt_ids);
    more = id_list("prompt_token_ids", prompt_ids);
  }
  return frame(
      fmt::format(
          R"([{{"index":{},"delta":{{"role":"assistant","content":""}},"logprobs":null,"finish_reason":null{}}}])",
          choice, ids),
      more, {prompt_ids.size(), 0});
}

std::string ChunkWriter::delta(const Piece& piece) const {
  std::string ids, more;
  if (return_token_ids_ == ReturnTokenIds::kYes) {
    ids = id_list("token_ids", piece.ids);
    if (!piece.prompt_ids.empty()) {
      more = id_list("prompt_token_ids", piece.prompt_ids);
      ids += more;
    }
  }
  const std::string text = json_string(piece.text);
  std::string content = R"("text":)" + text;
  if (endpoint_ == Endpoint::kChat) {
    const bool is_end_alone = piece.text.empty() && piece.end.finish_reason != nullptr;
    content = is_end_alone ? R"("delta":{})" : fmt::format(R"("delta":{{"content":{}}})", text);
  }
  return frame(fmt::format(R"([{{"index":{},{},"logprobs":{},{}{}}}])", piece.choice, content, piece.logprobs,
                           end_members(piece.end), ids),
               more, piece.usage);
}

std::string ChunkWriter::usage(const Usage& usage) const {
  return fmt::format("{}[],\"usage\":{}}}\n\n", head_, usage_object(usage));
}

std::string ChunkWriter::whole_choice(std::size_t index, const Choice& choice) const {
  const std::string text = json_string(choice.text);
  std::string content = R"("text":)" + text;
  if (endpoint_ == Endpoint::kChat)
    content = fmt::format(R"("message":{{"role":"assistant","content":{},"refusal":null}})", text);
  std::string out = fmt::format(R"({{"index":{},{},"logprobs":{},{})", index, content, choice.logprobs,
                                end_members(choice.end));
  if (return_token_ids_ == ReturnTokenIds::kYes)
    out += id_list("token_ids", choice.ids) + id_list("prompt_token_ids", choice.prompt_ids);
  if (tells_prompt_logprobs_ && endpoint_ == Endpoint::kCompletions)
    out += ",\"prompt_logprobs\":" + choice.prompt_logprobs;
  return out + "}";
}

std::string ChunkWriter::whole(std::span<const Choice> choices, const Usage& usage) const {
  std::string out = whole_head_ + "[";
  for (std::size_t i = 0; i < choices.size(); ++i) {
    if (i > 0) out += ",";
    out += whole_choice(i, choices[i]);
  }
  out += "],\"usage\":" + usage_object(usage);
  if (return_token_ids_ == ReturnTokenIds::kYes) out += id_list("prompt_token_ids", choices[0].prompt_ids);
  if (tells_prompt_logprobs_ && endpoint_ == Endpoint::kChat)
    out += ",\"prompt_logprobs\":" + choices[0].prompt_logprobs;
  return out + "}";
}

}  // namespace concertina::server::openai
