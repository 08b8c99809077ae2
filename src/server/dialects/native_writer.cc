#include "server/dialects/native_writer.h"

#include <fmt/format.h>

#include "server/dialects/translation.h"

namespace concertina::server::dialects {

namespace {

std::string event(const Json& data) { return fmt::format("data: {}\n\n", dumped(data)); }

void add_probabilities(const std::string& logprobs, Json& out) {
  const Json read = Json::parse(logprobs);
  if (!read.is_null()) out["completion_probabilities"] = read["content"];
}

bool is_length(const openai::End& end) {
  return end.finish_reason != nullptr && end.finish_reason == std::string_view("length");
}

}  // namespace

std::string LlamaWriter::delta(const openai::Piece& piece) {
  std::string content;
  for (const tools::Event& event : piece.events) content += event.text;
  if (piece.end.finish_reason != nullptr) end_ = piece.end;
  Json data{{"index", 0},
            {"content", content},
            {"stop", false},
            {"tokens_predicted", piece.usage.completion_tokens}};
  add_probabilities(piece.logprobs, data);
  return event(data);
}

Json LlamaWriter::last(const std::string& content, const openai::Usage& usage) const {
  const Json word = Json::parse(end_.stop_reason);
  return {{"index", 0},
          {"content", content},
          {"stop", true},
          {"model", model_},
          {"tokens_predicted", usage.completion_tokens},
          {"tokens_evaluated", usage.prompt_tokens},
          {"truncated", false},
          {"stop_type", is_length(end_)    ? "limit"
                        : word.is_string() ? "word"
                                           : "eos"},
          {"stopping_word", word.is_string() ? word : Json("")},
          {"timings", Json::parse(openai::timings_object(usage))}};
}

std::string LlamaWriter::end(const openai::Usage& usage) { return event(last("", usage)); }

std::string LlamaWriter::failed(const ApiError& error) { return "data: " + error_body(error) + "\n\n"; }

std::string LlamaWriter::whole(std::span<const openai::WholeChoice> choices, const openai::Usage& usage) {
  end_ = choices[0].end;
  Json out = last(choices[0].parts.content, usage);
  add_probabilities(choices[0].logprobs, out);
  return dumped(out);
}

std::string SglangWriter::whole(std::span<const openai::WholeChoice> choices, const openai::Usage& usage) {
  const openai::WholeChoice& choice = choices[0];
  Json reason{{"type", choice.end.finish_reason}};
  if (is_length(choice.end)) {
    reason["length"] = usage.completion_tokens;
  } else {
    reason["matched"] = Json::parse(choice.end.stop_reason);
  }
  Json ids = Json::array();
  for (const TokenId id : choice.ids) ids.push_back(id);
  Json meta{{"id", id_},
            {"finish_reason", std::move(reason)},
            {"prompt_tokens", usage.prompt_tokens},
            {"completion_tokens", usage.completion_tokens},
            {"cached_tokens", 0}};
  return dumped(
      {{"text", choice.parts.content}, {"output_ids", std::move(ids)}, {"meta_info", std::move(meta)}});
}

}  // namespace concertina::server::dialects
