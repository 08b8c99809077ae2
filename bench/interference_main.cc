// What one client's requests cost the streams of others: a long prompt, and ten clients with the worst
// bodies.
// `./dev bench interference`.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/background.h"
#include "base/check.h"
#include "base/random.h"
#include "bench/processor_time.h"
#include "bench/served.h"
#include "bench/summary.h"
#include "bench/worst_bodies.h"
#include "tests/harness/load.h"

namespace concertina::bench {
namespace {

using std::chrono::steady_clock;

constexpr std::size_t kVocabulary = 4000;  // ids below it are in both models' vocabularies
constexpr Duration kCalm = std::chrono::seconds(4), kBodies = std::chrono::seconds(8);
constexpr std::size_t kDistinctBodies = 91;                // each kind in each size
constexpr Duration kPatience = std::chrono::seconds(300);  // with one request

struct Options {
  std::string binary, model, demo = "models/demo", json_path = "build/bench_interference.json";
  std::size_t n_runs = 5, n_ranks = 2, n_threads = 1, n_streams = 8, prompt_tokens = 4096, n_clients = 10;
  std::vector<std::string> flags;  // more of serve
};

double seconds_since(Time begin) { return to_ms(steady_clock::now() - begin) / 1e3; }

// Asks for /health again and again until it is destroyed.
class HealthWatch {
 public:
  explicit HealthWatch(std::string url)
      : thread_([this, url = std::move(url)] {
          while (!stop_) {
            const Time begin = steady_clock::now();
            const auto answer = client::request(url, "GET", "/health", {}, kPatience);
            CHECK(answer.has_value(), "/health: {}", answer.error().message());
            worst_ms_ = std::max(worst_ms_.load(), to_ms(steady_clock::now() - begin));
            std::this_thread::sleep_for(std::chrono::milliseconds(2));
          }
        }) {}
  ~HealthWatch() {
    stop_ = true;
    thread_.join();
  }
  double take_worst_ms() { return worst_ms_.exchange(0); }

 private:
  std::atomic<bool> stop_{false};
  std::atomic<double> worst_ms_{0};
  std::thread thread_;
};

// Streams that decode until the end, restarting, and /health beside them.
class Bystanders {
 public:
  Bystanders(const std::string& url, std::size_t n_streams, std::size_t n_tokens, std::uint64_t seed)
      : load_(url, harness::make_requests(seed, n_streams, n_tokens, kVocabulary, 30),
              harness::Load::Restart::kYes),
        health_(url) {
    load_.wait_for_tokens(n_streams * 8);
  }
  struct Window {
    Time from, to;
    double health_ms = 0;
  };
  template <typename Work>
  Window during(const Work& work) {
    health_.take_worst_ms();
    Window window{.from = steady_clock::now(), .to = {}};
    work();
    window.to = steady_clock::now();
    window.health_ms = health_.take_worst_ms();
    return window;
  }
  // Ends all; the worst gap of each window, in ms.
  std::vector<double> worst_gaps_ms(std::span<const Window> windows) {
    load_.stop_restarting();
    const auto records = load_.join();
    for (const auto& record : records) CHECK(record.error.empty(), "a stream failed: {}", record.error);
    std::vector<double> gaps;
    for (const Window& window : windows)
      gaps.push_back(1e3 * harness::worst_gap_s(records, window.from, window.to));
    return gaps;
  }

 private:
  harness::Load load_;
  HealthWatch health_;
};

void rest(Duration time) { std::this_thread::sleep_for(time); }

double prompt_s(const std::string& url, std::size_t n_tokens, std::uint64_t seed) {
  Random random(seed);
  client::GenerationRequest request;
  for (std::size_t i = 0; i < n_tokens; ++i)
    request.prompt_ids.push_back(static_cast<TokenId>(random.below(kVocabulary)));
  request.max_tokens = 1;
  request.ignore_eos = true;
  const Time begin = steady_clock::now();
  const auto done = client::generate(url, request, nullptr, {.read_timeout = kPatience});
  CHECK(done.has_value(), "the prompt failed: {}", done.error().message());
  return seconds_since(begin);
}

struct Named {
  std::string name;
  Summary summary;
};
void add(std::vector<Named>& all, const std::string& name, double value) {
  auto at = std::find_if(all.begin(), all.end(), [&](const Named& one) { return one.name == name; });
  if (at == all.end()) at = all.insert(all.end(), {name, {}});
  at->summary.values.push_back(value);
}
const Summary& find(const std::vector<Named>& all, const std::string& name) {
  return std::find_if(all.begin(), all.end(), [&](const Named& one) { return one.name == name; })->summary;
}

// (a) and (b) on the large model.
void run_prompt(const harness::ServerProcess& server, const Options& options, std::uint64_t seed,
                std::vector<Named>& all) {
  const LoadWatch watch([&] { return used_s(server); });
  const double alone_s = prompt_s(server.url(), options.prompt_tokens, seed);
  // Short streams: the last ones are waited for, and a token takes a tenth of a second.
  Bystanders bystanders(server.url(), options.n_streams, 100, seed);
  double beside_s = 0;
  const Bystanders::Window windows[] = {
      bystanders.during([] { rest(kCalm); }),
      bystanders.during([&] { beside_s = prompt_s(server.url(), options.prompt_tokens, seed + 1000); })};
  const std::vector<double> gaps = bystanders.worst_gaps_ms(windows);
  const double tokens = static_cast<double>(options.prompt_tokens);
  add(all, "prompt: gap, calm, ms", gaps[0]);
  add(all, "prompt: gap beside it, ms", gaps[1]);
  add(all, "prompt: /health, calm, ms", windows[0].health_ms);
  add(all, "prompt: /health beside it, ms", windows[1].health_ms);
  add(all, "prompt: alone, tokens/s", tokens / alone_s);
  add(all, "prompt: beside streams, tokens/s", tokens / beside_s);
  add(all, "prompt: share of its speed, %", 100 * alone_s / beside_s);
  fmt::print(
      "run {}: gap {:.0f} ms calm, {:.0f} ms beside the prompt; prefill {:.0f} alone, {:.0f} beside; "
      "other load {:.0f}%\n",
      seed, gaps[0], gaps[1], tokens / alone_s, tokens / beside_s, 100 * watch.other_load());
  std::fflush(stdout);
}

// (c) on the demo model. Whatever the answers are, they must come.
void run_bodies(const harness::ServerProcess& server, const Options& options, std::uint64_t seed,
                std::vector<Named>& all) {
  // Made beforehand, and sent by threads that give way: real clients have machines of their own.
  std::vector<WorstBody> bodies;
  for (std::size_t n = 0; n < kDistinctBodies; ++n) bodies.push_back(worst_body(n, seed * 100 + n));
  const LoadWatch watch([&] { return used_s(server); });
  Bystanders bystanders(server.url(), options.n_streams, 400, seed);
  std::atomic<std::size_t> n_sent{0};
  const Bystanders::Window windows[] = {
      bystanders.during([] { rest(kCalm); }), bystanders.during([&] {
        std::vector<std::thread> clients;
        const Time end = steady_clock::now() + kBodies;
        for (std::size_t i = 0; i < options.n_clients; ++i) {
          clients.emplace_back([&, i] {
            work_in_the_background(19);
            for (std::size_t n = i; steady_clock::now() < end; n += options.n_clients, ++n_sent) {
              const WorstBody& body = bodies[n % bodies.size()];
              const auto answer = client::request(server.url(), "POST", body.target, body.body, kPatience);
              CHECK(answer.has_value(), "{} of {} bytes: {}", body.name, body.body.size(),
                    answer.error().message());
            }
          });
        }
        for (std::thread& client : clients) client.join();
      })};
  const std::vector<double> gaps = bystanders.worst_gaps_ms(windows);
  add(all, "bodies: gap, calm, ms", gaps[0]);
  add(all, "bodies: gap beside them, ms", gaps[1]);
  add(all, "bodies: /health, calm, ms", windows[0].health_ms);
  add(all, "bodies: /health beside them, ms", windows[1].health_ms);
  fmt::print(
      "run {}: gap {:.0f} ms calm, {:.0f} ms beside {} bodies; /health {:.0f} and {:.0f} ms; other load "
      "{:.0f}%\n",
      seed, gaps[0], gaps[1], n_sent.load(), windows[0].health_ms, windows[1].health_ms,
      100 * watch.other_load());
  std::fflush(stdout);
}

bool report(const std::vector<Named>& all, const Options& options) {
  struct Target {
    std::string text;
    double least = -1e300, most = 1e300;
  };
  const auto target_of = [&](const std::string& name) -> Target {
    const auto twice = [&](const char* calm) {
      const double most = 2 * find(all, calm).median() + 10;
      return Target{fmt::format("at most {:.0f}", most), -1e300, most};
    };
    if (name == "prompt: gap beside it, ms" || name == "prompt: /health beside it, ms")
      return {"at most 250", -1e300, 250};
    if (name == "prompt: share of its speed, %") return {"at least 70", 70};
    if (name == "bodies: gap beside them, ms") return twice("bodies: gap, calm, ms");
    if (name == "bodies: /health beside them, ms") return twice("bodies: /health, calm, ms");
    return {};
  };
  nlohmann::ordered_json json{{"streams", options.n_streams}, {"prompt_tokens", options.prompt_tokens}};
  bool met = true;
  for (const Named& one : all) {
    const Target target = target_of(one.name);
    const double median = one.summary.median();
    met &= one.summary.line(one.name, target.text, median >= target.least && median <= target.most);
    json[one.name] = one.summary.json();
  }
  json["targets_met"] = met;
  write_json(options.json_path, json);
  return met;
}

int run_bench(const Options& options) {
  wake_up_at_once();  // also who reads the streams: the server is measured, not its clients' turns on the
                      // cores
  std::vector<Named> all;
  if (!options.model.empty()) {
    ServedOptions served{.binary = options.binary,
                         .model = options.model,
                         .n_ranks = options.n_ranks,
                         .n_threads = options.n_threads};
    served.flags = {"--max-model-len", std::to_string(options.prompt_tokens + 1024), "--kv-cache-memory",
                    "768MiB"};
    served.flags.insert(served.flags.end(), options.flags.begin(), options.flags.end());
    const auto server = start_server(served);
    CHECK(server->wait_ready(kPatience).has_value(), "{}", server->log());
    for (std::uint64_t seed = 1; seed <= options.n_runs; ++seed) run_prompt(*server, options, seed, all);
  }
  auto server = harness::ServerProcess::start(
      {.binary = options.binary,
       .arguments = {options.demo, "--data-parallel-size", std::to_string(options.n_ranks)}});
  CHECK(server.has_value(), "{}", server.error().message());
  CHECK((*server)->wait_ready(kPatience).has_value(), "{}", (*server)->log());
  for (std::uint64_t seed = 1; seed <= options.n_runs; ++seed) run_bodies(**server, options, seed, all);
  return report(all, options) ? 0 : 1;
}

}  // namespace
}  // namespace concertina::bench

int main(int argc, char** argv) {
  concertina::bench::Options options;
  CLI::App app("What one client's requests cost the streams of others");
  app.add_option("--binary", options.binary, "concertina")->required();
  app.add_option("--model", options.model, "checkpoint folder for the long prompt; none: bodies alone");
  app.add_option("--demo", options.demo, "checkpoint folder for the bodies")->capture_default_str();
  app.add_option("--runs", options.n_runs, "runs of each")->capture_default_str();
  app.add_option("--ranks", options.n_ranks, "ranks")->capture_default_str();
  app.add_option("--threads", options.n_threads, "compute threads of a rank, for the long prompt")
      ->capture_default_str();
  app.add_option("--streams", options.n_streams, "streams that decode")->capture_default_str();
  app.add_option("--prompt-tokens", options.prompt_tokens, "of the long prompt")->capture_default_str();
  app.add_option("--clients", options.n_clients, "that send bodies")->capture_default_str();
  app.add_option("--serve-flags", options.flags, "more flags of serve, for the long prompt");
  app.add_option("--json", options.json_path, "where the numbers go")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  return concertina::bench::run_bench(options);
}
