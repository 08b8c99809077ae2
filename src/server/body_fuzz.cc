// Any bytes as the body of a completion and of a chat, with the demo model's tokenizer and template.
#include "base/check.h"
#include "server/openai/parameters.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace concertina;
  using namespace concertina::server;
  static const auto tokenizer = tokenizer::Tokenizer::load(CONCERTINA_SOURCE_DIR "/models/demo");
  static const auto chat_template = chat::ChatTemplate::load(CONCERTINA_SOURCE_DIR "/models/demo");
  CHECK(tokenizer && chat_template);
  static const front::ModelInfo model{.served_name = "demo", .max_model_len = 256, .vocab_size = 4096};
  static const openai::AnswerFormats formats = openai::make_answer_formats(
      {.calls = tools::find_call_format("hermes"), .reasoning = tools::find_reasoning_format("qwen3")},
      &*tokenizer);
  const auto body = Fields::parse(std::string(reinterpret_cast<const char*>(data), size));
  if (!body) return 0;
  for (const auto endpoint : {openai::Endpoint::kCompletions, openai::Endpoint::kChat}) {
    std::vector<std::string> unknown;
    const auto parameters =
        openai::parse_parameters(endpoint, *body, {model, &*tokenizer, &*chat_template, formats}, unknown);
    if (parameters) {
      CHECK(!parameters->prompts.empty() && parameters->n >= 1);
      CHECK(parameters->rules.logit_bias.size() <= request::kMaxLogitBiases);
      CHECK(parameters->logprobs.n_top.value_or(0) <= request::kMaxLogprobs);
      CHECK(parameters->stop.min_tokens == 0 || parameters->stop.min_tokens <= INT64_MAX);
      for (const auto& word : parameters->rules.bad_words) CHECK(!word.empty());
      for (const auto& prompt : parameters->prompts)
        CHECK(!prompt.empty() && prompt.size() < model.max_model_len);
    } else {
      CHECK(!error_body(parameters.error()).empty());
    }
  }
  return 0;
}
