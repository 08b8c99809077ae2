// A server over HTTP beside the engine alone, on the same weights, in turn; and what a token costs the front.
// `./dev bench http`.
#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "base/check.h"
#include "base/random.h"
#include "bench/engine.h"
#include "bench/processor_time.h"
#include "bench/served.h"
#include "bench/summary.h"
#include "tests/harness/load.h"

namespace concertina::bench {
namespace {

struct Options {
  ServedOptions served{.n_threads = 2};
  std::size_t n_streams = 32, n_tokens = 48, n_rounds = 5;
  std::string json_path = "build/bench_http.json";
};

constexpr std::size_t kPrompt = 8, kMaxDiscarded = 10;

// Sampled at temperature 1: streams of random weights then go different ways, as the engine's random tokens
// do.
std::vector<client::GenerationRequest> make_requests(const Options& options, std::uint64_t seed,
                                                     std::size_t vocab_size) {
  Random random(seed);
  std::vector<client::GenerationRequest> requests(options.n_streams);
  for (client::GenerationRequest& request : requests) {
    for (std::size_t i = 0; i < kPrompt; ++i)
      request.prompt_ids.push_back(static_cast<TokenId>(random.below(vocab_size)));
    request.max_tokens = options.n_tokens;
    request.ignore_eos = true;
    request.temperature = 1.0;
    request.top_p = 1.0;
    request.top_k = -1;
    request.seed = random.next() >> 1;
  }
  return requests;
}

struct Round {
  double http = 0, engine = 0;         // tokens per second
  double front_us = 0, client_us = 0;  // processor time a token
  double other_load = 0;
};

Round measure(const harness::ServerProcess& server, Engine& engine, const Options& options,
              std::size_t vocab_size, std::uint64_t seed) {
  Round round;
  const LoadWatch watch([&] { return used_s(server); });
  const double front_s = process_s(server.pid()), client_s = process_s(getpid());
  harness::Load load(server.url(), make_requests(options, seed, vocab_size), harness::Load::Restart::kNo);
  round.http = rate_of(load.join());
  const auto n_tokens = static_cast<double>(options.n_streams * options.n_tokens);
  round.front_us = 1e6 * (process_s(server.pid()) - front_s) / n_tokens;
  round.client_us = 1e6 * (process_s(getpid()) - client_s) / n_tokens;
  round.engine = n_tokens / engine.decode_s(options.n_streams, kPrompt, options.n_tokens, seed);
  round.other_load = watch.other_load();
  return round;
}

int run(const Options& options) {
  const model::ModelConfig config = model::read_config(options.served.model).value();
  auto engine = Engine::create({.model_path = options.served.model,
                                .n_ranks = options.served.n_ranks,
                                .n_threads = options.served.n_threads,
                                .n_sequences = options.n_streams});
  CHECK(engine.has_value(), "{}", engine.error().message());
  ServedOptions served = options.served;
  served.flags.insert(served.flags.begin(), {"--kv-cache-memory", "2GiB"});
  const auto server = start_server(served);
  const Status ready = server->wait_ready();
  CHECK(ready.has_value(), "{}", ready.error().message());
  (*engine)->decode_s(1, kPrompt, 2, 0);

  std::vector<Round> rounds;
  std::size_t n_discarded = 0;
  for (std::uint64_t seed = 1; rounds.size() < options.n_rounds && n_discarded < kMaxDiscarded; ++seed) {
    const Round round = measure(*server, **engine, options, config.vocab_size, seed);
    const bool kept = round.other_load <= kMaxOtherLoad;
    fmt::print("round {}: HTTP {:.1f}, engine {:.1f} tokens/s; other load {:.1f}%{}\n", seed, round.http,
               round.engine, 100 * round.other_load, kept ? "" : ", thrown away");
    std::fflush(stdout);
    if (kept) rounds.push_back(round);
    n_discarded += kept ? 0 : 1;
  }
  if (rounds.empty()) {
    fmt::print(stderr, "every round was disturbed by other load on the machine\n");
    return 1;
  }
  nlohmann::ordered_json json{{"model", options.served.model}, {"streams", options.n_streams}};
  const auto summary_of = [&](const char* name, auto value) {
    Summary summary;
    for (const Round& round : rounds) summary.values.push_back(value(round));
    json[name] = summary.json();
    return summary;
  };
  fmt::print("{} ranks x {} threads, {} streams\n", options.served.n_ranks, options.served.n_threads,
             options.n_streams);
  summary_of("http", [](const Round& r) { return r.http; }).line("over HTTP, tokens/s", "");
  summary_of("engine", [](const Round& r) { return r.engine; }).line("the engine alone, tokens/s", "");
  const Summary ratio = summary_of("ratio_percent", [](const Round& r) { return 100 * r.http / r.engine; });
  const bool met = ratio.line("HTTP of the engine, %", "95 or more", ratio.median() >= 95);
  summary_of("front_us", [](const Round& r) {
    return r.front_us;
  }).line("front, us of processor a token", "");
  summary_of("client_us", [](const Round& r) { return r.client_us; }).line("this client, the same", "");
  json["target_met"] = met;
  write_json(options.json_path, json);
  return met ? 0 : 1;
}

}  // namespace
}  // namespace concertina::bench

int main(int argc, char** argv) {
  concertina::bench::Options options;
  CLI::App app("A server over HTTP beside the engine alone");
  app.add_option("--binary", options.served.binary, "concertina")->required();
  app.add_option("--model", options.served.model, "checkpoint folder")->required();
  app.add_option("--ranks", options.served.n_ranks, "of either")->capture_default_str();
  app.add_option("--threads", options.served.n_threads, "of a rank")->capture_default_str();
  app.add_option("--streams", options.n_streams, "side by side")->capture_default_str();
  app.add_option("--tokens", options.n_tokens, "of a stream")->capture_default_str();
  app.add_option("--rounds", options.n_rounds, "rounds that count")->capture_default_str();
  app.add_option("--flags", options.served.flags, "more flags of serve, joined by =");
  app.add_option("--json", options.json_path, "where the numbers go")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  return concertina::bench::run(options);
}
