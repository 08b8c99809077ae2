#include "server/openai/answer_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <random>

#include "server/dialects/anthropic_writer.h"
#include "server/dialects/native_writer.h"
#include "server/dialects/responses_writer.h"
#include "server/openai/chunks.h"

namespace concertina::server::openai {

void AnswerParts::add(const tools::Event& event) {
  using Kind = tools::Event::Kind;
  if (event.kind == Kind::kContent) content += event.text;
  if (event.kind == Kind::kReasoning) reasoning += event.text;
  if (event.kind == Kind::kCallBegin) calls.push_back({event.call_id, event.text, {}});
  if (event.kind == Kind::kArguments) calls.at(event.call).arguments += event.text;
  const bool is_joined = !events.empty() && event.kind != Kind::kCallBegin &&
                         events.back().kind == event.kind && events.back().call == event.call;
  if (is_joined) {
    events.back().text += event.text;
  } else {
    events.push_back(event);
  }
}

namespace {
bool is_plain(char byte) { return byte >= ' ' && byte != '"' && byte != '\\' && byte != '\x7f'; }
}  // namespace

// Nearly all of what a model writes needs no escapes.
void append_escaped(std::string& out, std::string_view text) {
  if (std::ranges::all_of(text, is_plain)) {
    out += text;
    return;
  }
  const std::string quoted =
      nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  out.append(quoted, 1, quoted.size() - 2);
}

std::string json_string(std::string_view text) {
  std::string out;
  out.reserve(text.size() + 2);
  out += '"';
  append_escaped(out, text);
  return out += '"';
}

std::string joined_ids(std::span<const TokenId> ids) {
  fmt::memory_buffer out;
  for (const TokenId id : ids)
    fmt::format_to(std::back_inserter(out), "{}{}", out.size() == 0 ? "" : ",", id);
  return fmt::to_string(out);
}

std::string random_id(const char* prefix) {
  std::random_device device;
  return fmt::format("{}{:08x}{:08x}{:08x}", prefix, device(), device(), device());
}

std::string timings_object(const Usage& usage) {
  const auto per_second = [](std::size_t n, double ms) {
    return ms > 0 ? 1e3 * static_cast<double>(n) / ms : 0;
  };
  return fmt::format(
      R"({{"prompt_n":{},"prompt_ms":{:.3f},"prompt_per_second":{:.3f},"predicted_n":{},"predicted_ms":{:.3f},"predicted_per_second":{:.3f}}})",
      usage.prompt_tokens, usage.prompt_ms, per_second(usage.prompt_tokens, usage.prompt_ms),
      usage.completion_tokens, usage.predicted_ms, per_second(usage.completion_tokens, usage.predicted_ms));
}

std::unique_ptr<AnswerWriter> make_writer(const Parameters& parameters, const front::ModelInfo& model) {
  if (parameters.endpoint == Endpoint::kResponses)
    return std::make_unique<dialects::ResponsesWriter>(parameters.repeated_fields, model.served_name,
                                                       parameters.kept_items);
  if (parameters.endpoint == Endpoint::kMessages)
    return std::make_unique<dialects::AnthropicWriter>(model.served_name);
  if (parameters.endpoint == Endpoint::kLlama)
    return std::make_unique<dialects::LlamaWriter>(model.served_name);
  if (parameters.endpoint == Endpoint::kSglang)
    return std::make_unique<dialects::SglangWriter>(parameters.request_id);
  return std::make_unique<ChunkWriter>(parameters, model);
}

}  // namespace concertina::server::openai
