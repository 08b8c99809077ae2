#pragma once

#include <fmt/format.h>

#include "server/generation_fixture.h"
#include "server/openai/prepare.h"
#include "server/openai/structure_checker.h"

namespace concertina::server::openai {

// From a body to the bytes of its answer: the test says which text the model writes.
class AnswerTest : public ::testing::Test {
 protected:
  AnswerTest() { choose("hermes", "qwen3"); }
  void choose(const std::string& calls, const std::string& reasoning) {
    formats = make_answer_formats(tools::choose_formats(calls, reasoning, {}).value(), &*tokenizer);
  }
  PreparedRequest prepared(Endpoint endpoint, const Json& body) const {
    return prepare(endpoint, body.dump(),
                   {.model = model,
                    .tokenizer = &*tokenizer,
                    .chat_template = &*chat_template,
                    .formats = formats,
                    .structures = &structures});
  }
  ApiResult<Parameters> parameters_of(const Json& more) const {
    Json body{{"messages", Json::array({{{"role", "user"}, {"content", "Weather?"}}})}};
    body.update(more);
    return prepared(Endpoint::kChat, body).parameters;
  }
  Json with_tools(const Json& more = Json::object()) {
    Json body{{"tools", Json::parse(R"([{"type": "function", "function": {"name": "get_weather"}}])")}};
    body.update(more);
    return body;
  }
  // What the client of `body` gets while the model writes `text`, token by token.
  std::string answer_to(const Json& body, const std::string& text,
                        request::FinishReason reason = request::FinishReason::kStop) {
    const auto parameters = parameters_of(body);
    return parameters ? written(*parameters, text, reason) : "error: " + parameters.error().message;
  }
  std::string written(const Parameters& parameters, const std::string& text,
                      request::FinishReason reason = request::FinishReason::kStop) {
    RecordedAnswer answer;
    const auto generation = std::make_shared<Generation>(
        GenerationContext{service, &*tokenizer, formats, metrics, [](auto) {}}, front::ClientId(7),
        parameters, std::make_shared<RecordingResponder>(answer), [](Generation*) {});
    generation->start();
    auto ids = tokenizer->encode(text, tokenizer::AddSpecialTokens::kNo);
    const RequestId request(service.submitted.size());
    for (const TokenId& id : ids) {
      const bool is_last = &id == &ids.back();
      generation->on_token(request, id, is_last ? reason : request::FinishReason::kNone, {});
    }
    EXPECT_EQ(answer.end, RecordedAnswer::End::kFinished);
    return answer.text;
  }
  Json whole(const Json& body, const std::string& text,
             request::FinishReason reason = request::FinishReason::kStop) {
    return Json::parse(answer_to(body, text, reason));
  }
  static std::vector<Json> chunks(const std::string& stream) {
    std::vector<Json> out;
    for (std::size_t at = stream.find("data: {"); at != stream.npos; at = stream.find("data: {", at + 1))
      out.push_back(Json::parse(stream.substr(at + 6, stream.find("\n\n", at) - at - 6)));
    return out;
  }

  const Result<tokenizer::Tokenizer> tokenizer =
      tokenizer::Tokenizer::load(CONCERTINA_SOURCE_DIR "/models/demo");
  Result<chat::ChatTemplate> chat_template =
      chat::ChatTemplate::parse("{{ tools | tojson }}{{ messages[-1].content }}", "t");
  AnswerFormats formats;
  mutable StructureChecker structures;
  const front::ModelInfo model{.served_name = "demo", .max_model_len = 4096, .vocab_size = 4096};
  RecordingService service;
  Metrics metrics{"demo"};
  const std::string call =
      "<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Oslo\"}}\n</tool_call>";
};

}  // namespace concertina::server::openai
