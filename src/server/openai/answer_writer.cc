#include "server/openai/answer_writer.h"

#include <fmt/format.h>

#include <random>

#include "server/openai/chunks.h"

namespace concertina::server::openai {

void AnswerParts::add(const tools::Event& event) {
  using Kind = tools::Event::Kind;
  if (event.kind == Kind::kContent) content += event.text;
  if (event.kind == Kind::kReasoning) reasoning += event.text;
  if (event.kind == Kind::kCallBegin) calls.push_back({event.call_id, event.text, {}});
  if (event.kind == Kind::kArguments) calls.at(event.call).arguments += event.text;
}

std::string json_string(const std::string& text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string random_id(const char* prefix) {
  std::random_device device;
  return fmt::format("{}{:08x}{:08x}{:08x}", prefix, device(), device(), device());
}

std::unique_ptr<AnswerWriter> make_writer(const Parameters& parameters, const std::string& model) {
  return std::make_unique<ChunkWriter>(parameters.endpoint, model, parameters.include_usage,
                                       parameters.return_token_ids);
}

}  // namespace concertina::server::openai
