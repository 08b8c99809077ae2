// What one turn of the thread that carries streams spends on an answer, at worst: its beginning, a step of
// all its choices, its end. Run from the repository's root.
#include <benchmark/benchmark.h>

#include <ctime>

#include "base/check.h"
#include "server/generation_fixture.h"
#include "server/openai/prepare.h"

namespace concertina::server::openai {
namespace {

// Of this thread: on a busy machine the worst of many wall times is somebody else's work.
double processor_s() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

const tokenizer::Tokenizer& demo() {
  static const auto loaded = tokenizer::Tokenizer::load("models/demo");
  return *loaded;
}
const chat::ChatTemplate& chat_template() {
  static const auto parsed = chat::ChatTemplate::parse("{{ messages[-1].content }}", "t");
  return *parsed;
}
const AnswerFormats& formats() {
  static const auto made = make_answer_formats(tools::choose_formats("hermes", "none", {}).value(), &demo());
  return made;
}

// One request on its way; the benchmark is its model.
class Answer {
 public:
  Answer(Endpoint endpoint, const Json& body) {
    static const front::ModelInfo model{.served_name = "demo", .max_model_len = 1 << 20, .vocab_size = 4096};
    service_.room = 1000;
    PreparedRequest prepared = prepare(endpoint, body.dump(), {model, &demo(), &chat_template(), formats()});
    CHECK(prepared.parameters.has_value(), "{}", prepared.parameters.error().message);
    parameters_ = std::make_unique<Parameters>(std::move(*prepared.parameters));
  }
  double begin_s() {
    const double begin = processor_s();
    generation_ = std::make_shared<Generation>(
        GenerationContext{service_, &demo(), formats(), metrics_, [](const auto& turn) { turn(); }},
        front::ClientId(7), std::move(*parameters_), std::make_shared<RecordingResponder>(answer_),
        [](Generation*) {});
    generation_->start();
    return processor_s() - begin;
  }
  // A token of each of the first `n` choices.
  double step_s(std::size_t n, TokenId token, std::span<const request::TokenLogprob> logprobs = {},
                request::FinishReason reason = request::FinishReason::kNone) {
    const double begin = processor_s();
    for (std::size_t i = 1; i <= n; ++i) generation_->on_token(RequestId(i), token, reason, logprobs);
    return processor_s() - begin;
  }
  double end_s() { return step_s(1, token(), {}, request::FinishReason::kLength); }
  static TokenId token() { return demo().encode(" capital", tokenizer::AddSpecialTokens::kNo)[0]; }

 private:
  RecordingService service_;
  Metrics metrics_{"demo"};
  RecordedAnswer answer_;
  std::unique_ptr<Parameters> parameters_;
  std::shared_ptr<Generation> generation_;
};

Json with_tools_of(std::size_t n_bytes) {
  Json tools = Json::array();
  for (std::size_t i = 0; i * 4096 < n_bytes; ++i)
    tools.push_back({{"type", "function"}, {"name", "f"}, {"description", std::string(4096, 'x')}});
  return {{"input", "Hello"}, {"tools", std::move(tools)}, {"stream", true}};
}

void responses_begin_with_tools_of_4_mib(benchmark::State& state) {
  for (auto _ : state) {
    Answer answer(Endpoint::kResponses, with_tools_of(4 << 20));
    state.SetIterationTime(answer.begin_s() + answer.step_s(1, Answer::token()));
  }
}
BENCHMARK(responses_begin_with_tools_of_4_mib)
    ->UseManualTime()
    ->Iterations(10)
    ->Unit(benchmark::kMillisecond);

void responses_end_with_tools_of_4_mib(benchmark::State& state) {
  for (auto _ : state) {
    Answer answer(Endpoint::kResponses, with_tools_of(4 << 20));
    answer.begin_s();
    answer.step_s(1, Answer::token());
    state.SetIterationTime(answer.end_s());
  }
}
BENCHMARK(responses_end_with_tools_of_4_mib)->UseManualTime()->Iterations(10)->Unit(benchmark::kMillisecond);

void step_of_128_choices(benchmark::State& state, Endpoint endpoint, int n_top) {
  Json body{{"n", 128}, {"stream", true}, {"max_tokens", 1000}};
  if (endpoint == Endpoint::kChat) {
    body["messages"] = Json::array({{{"role", "user"}, {"content", "Hello"}}});
    if (n_top > 0) body["logprobs"] = true, body["top_logprobs"] = n_top;
  } else {
    body["prompt"] = "Hello";
    if (n_top > 0) body["logprobs"] = n_top;
  }
  std::vector<request::TokenLogprob> logprobs;
  for (int i = 0; i <= n_top && n_top > 0; ++i) logprobs.push_back({300 + 7 * i, -0.123f - 1.7f * i});
  for (auto _ : state) {
    Answer answer(endpoint, body);
    answer.begin_s();
    answer.step_s(128, logprobs.empty() ? Answer::token() : logprobs[0].token, logprobs);
    double worst_s = 0;
    for (int i = 0; i < 20; ++i)
      worst_s = std::max(
          worst_s, answer.step_s(128, logprobs.empty() ? Answer::token() : logprobs[0].token, logprobs));
    state.SetIterationTime(worst_s);
  }
}
BENCHMARK_CAPTURE(step_of_128_choices, chat, Endpoint::kChat, 0)
    ->UseManualTime()
    ->Iterations(10)
    ->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(step_of_128_choices, chat_top_20, Endpoint::kChat, 20)
    ->UseManualTime()
    ->Iterations(10)
    ->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(step_of_128_choices, completion_top_20, Endpoint::kCompletions, 20)
    ->UseManualTime()
    ->Iterations(10)
    ->Unit(benchmark::kMicrosecond);

// An answer of 100,000 tokens, some 800 KB.
void end_of_a_long_answer(benchmark::State& state, Endpoint endpoint, bool is_stream) {
  Json body{{"stream", is_stream}};
  if (endpoint == Endpoint::kResponses) {
    body["input"] = "Hello";
  } else {
    body["messages"] = Json::array({{{"role", "user"}, {"content", "Hello"}}});
    body["max_tokens"] = 200'000;
  }
  for (auto _ : state) {
    Answer answer(endpoint, body);
    answer.begin_s();
    for (int i = 0; i < 100'000; ++i) answer.step_s(1, Answer::token());
    state.SetIterationTime(answer.end_s());
  }
}
void ends(benchmark::internal::Benchmark* bench) {
  bench->UseManualTime()->Iterations(3)->Unit(benchmark::kMillisecond);
}
BENCHMARK_CAPTURE(end_of_a_long_answer, chat_stream, Endpoint::kChat, true)->Apply(ends);
BENCHMARK_CAPTURE(end_of_a_long_answer, chat_whole, Endpoint::kChat, false)->Apply(ends);
BENCHMARK_CAPTURE(end_of_a_long_answer, responses_stream, Endpoint::kResponses, true)->Apply(ends);
BENCHMARK_CAPTURE(end_of_a_long_answer, responses_whole, Endpoint::kResponses, false)->Apply(ends);
BENCHMARK_CAPTURE(end_of_a_long_answer, messages_stream, Endpoint::kMessages, true)->Apply(ends);
BENCHMARK_CAPTURE(end_of_a_long_answer, messages_whole, Endpoint::kMessages, false)->Apply(ends);

void end_of_128_choices_with_top_20(benchmark::State& state) {
  const Json body{{"n", 128}, {"logprobs", 20}, {"max_tokens", 300}, {"prompt", "Hello"}};
  std::vector<request::TokenLogprob> logprobs;
  for (int i = 0; i <= 20; ++i) logprobs.push_back({300 + 7 * i, -0.123f - 1.7f * static_cast<float>(i)});
  for (auto _ : state) {
    Answer answer(Endpoint::kCompletions, body);
    answer.begin_s();
    for (int i = 0; i < 200; ++i) answer.step_s(128, logprobs[0].token, logprobs);
    state.SetIterationTime(answer.step_s(128, logprobs[0].token, logprobs, request::FinishReason::kLength));
  }
}
BENCHMARK(end_of_128_choices_with_top_20)->Apply(ends);

// The ids of a prompt are told with each choice.
void end_of_128_choices_with_a_prompts_ids(benchmark::State& state) {
  const Json body{
      {"n", 128}, {"return_token_ids", true}, {"max_tokens", 2}, {"prompt", std::vector<int>(8000, 777)}};
  for (auto _ : state) {
    Answer answer(Endpoint::kCompletions, body);
    answer.begin_s();
    state.SetIterationTime(answer.step_s(128, Answer::token(), {}, request::FinishReason::kLength));
  }
}
BENCHMARK(end_of_128_choices_with_a_prompts_ids)->Apply(ends);

}  // namespace
}  // namespace concertina::server::openai
