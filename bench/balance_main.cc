// How evenly ranks hold KV under skewed arrivals, with rebalancing and without. `./dev bench balance`.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/check.h"
#include "base/random.h"
#include "bench/long_streams.h"
#include "bench/summary.h"
#include "client/admin.h"

namespace concertina {
namespace {

using std::chrono::steady_clock;

struct Options {
  bench::LongStreams streams;  // its context and tokens are means: both are skewed here
  std::string json_path = "build/bench_balance.json";
  std::size_t n_ranks = 2, n_requests = 120, n_runs = 3;
  double per_second = 4;
};

struct Arrival {
  double at_s;
  client::GenerationRequest request;
};

// Lengths whose logarithm is normal: a few are many times the mean.
std::size_t skewed(Random& random, std::size_t mean, std::size_t most) {
  constexpr double kSigma = 1.2;
  const double u1 = 1.0 - static_cast<double>(random.uniform()), u2 = static_cast<double>(random.uniform());
  const double normal = std::sqrt(-2 * std::log(u1)) * std::cos(2 * M_PI * u2);
  const double length = static_cast<double>(mean) * std::exp(kSigma * normal - kSigma * kSigma / 2);
  return std::clamp<std::size_t>(static_cast<std::size_t>(length), 4, most);
}

std::vector<Arrival> arrivals(const Options& options, std::uint64_t seed) {
  Random random(seed);
  std::vector<Arrival> arrivals;
  double at_s = 0;
  const std::size_t context = std::max<std::size_t>(16, options.streams.context);
  for (std::size_t i = 0; i < options.n_requests; ++i) {
    at_s += -std::log(1.0 - static_cast<double>(random.uniform())) / options.per_second;
    client::GenerationRequest request;
    request.prompt_ids.resize(skewed(random, context, 4 * context));
    for (TokenId& token : request.prompt_ids) token = static_cast<TokenId>(random.below(4093));
    request.max_tokens = skewed(random, options.streams.n_tokens, 4 * options.streams.n_tokens);
    request.ignore_eos = true;
    request.seed = random.next() >> 1;
    request.temperature = 0.9;
    arrivals.push_back({at_s, std::move(request)});
  }
  return arrivals;
}

double percentile(std::vector<double> values, double p) {
  CHECK(!values.empty());
  std::sort(values.begin(), values.end());
  return values[static_cast<std::size_t>(p * static_cast<double>(values.size() - 1))];
}

struct Run {
  std::vector<double> imbalance;  // max over mean of the KV blocks held, where any are; each 20 ms
  std::vector<double> ttft_ms;
  std::vector<std::vector<TokenId>> tokens;
  double tokens_per_s = 0, n_moved = 0;
};

void sample(const std::string& url, Run& run) {
  const auto cluster = client::fetch_cluster(url);
  if (!cluster || cluster->n_kv_blocks_used() == 0) return;
  std::size_t most = 0;
  for (const auto& rank : cluster->ranks) most = std::max(most, rank.kv_blocks_used);
  run.imbalance.push_back(static_cast<double>(most * cluster->ranks.size()) /
                          static_cast<double>(cluster->n_kv_blocks_used()));
}

Run measure(const std::string& url, const std::vector<Arrival>& arrivals) {
  Run run;
  run.tokens.resize(arrivals.size());
  run.ttft_ms.resize(arrivals.size());
  std::atomic<std::size_t> n_over{0}, n_tokens{0};
  const Time begin = steady_clock::now();
  std::vector<std::thread> clients;
  for (std::size_t i = 0; i < arrivals.size(); ++i) {
    clients.emplace_back([&, i] {
      std::this_thread::sleep_until(
          begin + std::chrono::duration_cast<Duration>(std::chrono::duration<double>(arrivals[i].at_s)));
      const Time sent = steady_clock::now();
      const auto generated = client::generate(url, arrivals[i].request);
      CHECK(generated.has_value(), "request {}: {}", i, generated.error().message());
      run.ttft_ms[i] = to_ms(generated->token_times.front() - sent);
      run.tokens[i] = generated->token_ids;
      n_tokens += generated->token_ids.size();
      ++n_over;
    });
  }
  const double n_before = bench::metric(url, "concertina_kv_moved_requests_total");
  while (n_over < arrivals.size()) {
    sample(url, run);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  const Time end = steady_clock::now();
  for (std::thread& client : clients) client.join();
  run.n_moved = bench::metric(url, "concertina_kv_moved_requests_total") - n_before;
  run.tokens_per_s = 1e3 * static_cast<double>(n_tokens) / to_ms(end - begin);
  return run;
}

int run_bench(const Options& options) {
  bench::LongStreams streams = options.streams;  // room for the longest
  streams.context *= 4, streams.n_tokens *= 4;
  const auto with = streams.start(options.n_ranks),
             without = streams.start(options.n_ranks, {"--no-rebalance"});
  bench::Summary lower, slower;
  nlohmann::ordered_json json;
  for (std::uint64_t seed = 1; seed <= options.n_runs; ++seed) {
    const auto requests = arrivals(options, seed);
    const Run plain = measure(without->url(), requests), balanced = measure(with->url(), requests);
    CHECK(plain.tokens == balanced.tokens, "streams differ, seed {}", seed);
    const double p95[] = {percentile(plain.imbalance, 0.95), percentile(balanced.imbalance, 0.95)};
    const double p99[] = {percentile(plain.ttft_ms, 0.99), percentile(balanced.ttft_ms, 0.99)};
    lower.values.push_back(100 * (1 - p95[1] / p95[0]));
    slower.values.push_back(100 * p99[1] / p99[0]);
    for (const auto& [name, run, at] : {std::tuple("without", &plain, 0), std::tuple("with", &balanced, 1)})
      fmt::print(
          "{:>3} {:<8} P95 of max / mean of KV held {:.2f}, P99 of the first token {:.0f} ms, {:.0f} "
          "tokens/s, {:.0f} requests moved\n",
          seed, name, p95[at], p99[at], run->tokens_per_s, run->n_moved);
    std::fflush(stdout);
  }
  bool met = lower.line("imbalance lower by, %", "at least 20", lower.median() >= 20);
  met &= slower.line("P99 of the first token, % of without", "at most 105", slower.median() <= 105);
  json["imbalance_lower_by_percent"] = lower.json();
  json["ttft_p99_percent_of_without"] = slower.json();
  bench::write_json(options.json_path, json);
  return met ? 0 : 1;
}

}  // namespace
}  // namespace concertina

int main(int argc, char** argv) {
  concertina::Options options;
  options.streams.context = 100, options.streams.n_tokens = 150;
  CLI::App app("How evenly ranks hold KV under skewed arrivals, with rebalancing and without");
  options.streams.add_to(app);
  app.add_option("--ranks", options.n_ranks, "ranks")->capture_default_str();
  app.add_option("--requests", options.n_requests, "of a run")->capture_default_str();
  app.add_option("--per-second", options.per_second, "how many come, in the mean")->capture_default_str();
  app.add_option("--runs", options.n_runs, "each with and without")->capture_default_str();
  app.add_option("--json", options.json_path, "where the numbers go")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  return concertina::run_bench(options);
}
