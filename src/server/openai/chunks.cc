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

}  // namespace

ChunkWriter::ChunkWriter(Endpoint endpoint, const std::string& model, IncludeUsage include_usage,
                         ReturnTokenIds return_token_ids)
    : endpoint_(endpoint), include_usage_(include_usage), return_token_ids_(return_token_ids) {
  const std::string id = random_id(endpoint), name = json_string(model);
  const auto head = [&](const char* object) {
    return fmt::format(R"({{"id":"{}","object":"{}","created":{},"model":{},"choices":)", id, object,
                       std::time(nullptr), name);
  };
  head_ = "data: " + head(endpoint == Endpoint::kChat ? "chat.completion.chunk" : "text_completion");
  whole_head_ = head(endpoint == Endpoint::kChat ? "chat.completion" : "text_completion");
}

std::string ChunkWriter::frame(const std::string& choices, const std::string& more) const {
  return head_ + choices + more + (include_usage_ == IncludeUsage::kYes ? ",\"usage\":null}\n\n" : "}\n\n");
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
      more);
}

std::string ChunkWriter::delta(std::size_t choice, const std::string& text, std::span<const TokenId> ids,
                               std::span<const TokenId> prompt_ids, const char* finish_reason) const {
  std::string id_text, more;
  if (return_token_ids_ == ReturnTokenIds::kYes) {
    id_text = id_list("token_ids", ids);
    if (!prompt_ids.empty()) {
      id_text += id_list("prompt_token_ids", prompt_ids);
      more = id_list("prompt_token_ids", prompt_ids);
    }
  }
  const std::string reason = reason_text(finish_reason);
  if (endpoint_ == Endpoint::kCompletions) {
    return frame(fmt::format(R"([{{"index":{},"text":{},"logprobs":null,"finish_reason":{}{}}}])", choice,
                             json_string(text), reason, id_text),
                 more);
  }
  const std::string delta =
      text.empty() && finish_reason != nullptr ? "{}" : fmt::format(R"({{"content":{}}})", json_string(text));
  return frame(fmt::format(R"([{{"index":{},"delta":{},"logprobs":null,"finish_reason":{}{}}}])", choice,
                           delta, reason, id_text),
               more);
}

std::string ChunkWriter::usage(const Usage& usage) const {
  return fmt::format("{}[],\"usage\":{}}}\n\n", head_, usage_object(usage));
}

std::string ChunkWriter::whole(std::span<const Choice> choices, const Usage& usage) const {
  std::string out = whole_head_ + "[";
  for (std::size_t i = 0; i < choices.size(); ++i) {
    const Choice& choice = choices[i];
    const std::string text = json_string(choice.text);
    if (i > 0) out += ",";
    if (endpoint_ == Endpoint::kChat) {
      out += fmt::format(
          R"({{"index":{},"message":{{"role":"assistant","content":{},"refusal":null}},"logprobs":null,"finish_reason":{})",
          i, text, reason_text(choice.finish_reason));
    } else {
      out += fmt::format(R"({{"index":{},"text":{},"logprobs":null,"finish_reason":{})", i, text,
                         reason_text(choice.finish_reason));
    }
    if (return_token_ids_ == ReturnTokenIds::kYes) {
      out += id_list("token_ids", choice.ids) + id_list("prompt_token_ids", choice.prompt_ids);
    }
    out += "}";
  }
  out += "],\"usage\":" + usage_object(usage);
  if (return_token_ids_ == ReturnTokenIds::kYes) out += id_list("prompt_token_ids", choices[0].prompt_ids);
  return out + "}";
}

}  // namespace concertina::server::openai
