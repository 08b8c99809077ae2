// How evenly ranks hold KV under skewed arrivals, with rebalancing and without. `./dev bench balance`: model
// M, 1,500 requests of each kind, some 70 minutes on two cores. Percentiles of 150 requests differ by more
// than a fifth from run to run; those of all runs together say something.
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

constexpr std::size_t kLongest = 10;  // of a skewed length, in means

struct Options {
  bench::LongStreams streams;  // its context and tokens are means: both are skewed here
  std::string json_path = "build/bench_balance.json";
  std::size_t n_ranks = 2, n_requests = 250, n_runs = 6;
  double load = 0.95;     // of what the ranks can do
  double per_second = 0;  // 0: by that load
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

std::vector<Arrival> arrivals(const Options& options, double per_second, std::uint64_t seed) {
  Random random(seed);
  std::vector<Arrival> arrivals;
  double at_s = 0;
  const std::size_t context = std::max<std::size_t>(16, options.streams.context);
  for (std::size_t i = 0; i < options.n_requests; ++i) {
    at_s += -std::log(1.0 - static_cast<double>(random.uniform())) / per_second;
    client::GenerationRequest request;
    request.prompt_ids.resize(skewed(random, context, kLongest * context));
    for (TokenId& token : request.prompt_ids) token = static_cast<TokenId>(random.below(4093));
    request.max_tokens = skewed(random, options.streams.n_tokens, kLongest * options.streams.n_tokens);
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

// How fast requests of mean lengths go through, eight a rank side by side: so many a second.
double capacity(const std::string& url, const Options& options) {
  bench::LongStreams streams = options.streams;
  streams.n_streams = 8 * options.n_ranks;
  streams.context = std::max<std::size_t>(16, streams.context);
  streams.n_tokens *= 2;  // so that the first does not end before the last has begun
  const Time begin = steady_clock::now();
  harness::Load load(url, streams.requests(1), harness::Load::Restart::kNo);
  const auto records = load.join();
  Time all_decode = begin, first_ends = Time::max();
  for (const auto& record : records) {
    CHECK(record.error.empty(), "{}", record.error);
    all_decode = std::max(all_decode, record.generation.token_times.front());
    first_ends = std::min(first_ends, record.generation.token_times.back());
  }
  CHECK(all_decode < first_ends,
        "the first stream of {} tokens ended before the last began: give more --tokens", streams.n_tokens);
  const double answer_s =
      static_cast<double>(options.streams.n_tokens) / bench::rate(records, all_decode, first_ends);
  const double prompt_s = 1e-3 * to_ms(all_decode - begin) / static_cast<double>(streams.n_streams);
  return 1 / (answer_s + prompt_s);
}

struct Run {
  // The most KV blocks of a rank over the mean, each 20 ms while requests come, where two a rank run.
  std::vector<double> imbalance;
  std::vector<double> ttft_ms;
  std::vector<std::vector<TokenId>> tokens;
  double tokens_per_s = 0, n_moved = 0, n_recomputed = 0;
};

void sample(const std::string& url, Run& run) {
  const auto cluster = client::fetch_cluster(url);
  if (!cluster || cluster->n_kv_blocks_used() == 0) return;
  std::size_t most = 0, n_running = 0;
  for (const auto& rank : cluster->ranks) {
    most = std::max(most, rank.kv_blocks_used);
    n_running += rank.n_running;
  }
  if (n_running < 2 * cluster->ranks.size()) return;
  run.imbalance.push_back(static_cast<double>(most * cluster->ranks.size()) /
                          static_cast<double>(cluster->n_kv_blocks_used()));
}

Run measure(const std::string& url, const std::vector<Arrival>& arrivals) {
  Run run;
  run.tokens.resize(arrivals.size());
  run.ttft_ms.resize(arrivals.size());
  std::atomic<std::size_t> n_begun{0}, n_tokens{0};
  const auto moved = [&url](const char* what) {
    return bench::metric(url, std::string("concertina_kv_moved_") + what);
  };
  const double n_moved = moved("requests_total"), n_recomputed = moved("tokens_recomputed_total");
  const Time begin = steady_clock::now();
  std::vector<std::thread> clients;
  for (std::size_t i = 0; i < arrivals.size(); ++i) {
    clients.emplace_back([&, i] {
      std::this_thread::sleep_until(
          begin + std::chrono::duration_cast<Duration>(std::chrono::duration<double>(arrivals[i].at_s)));
      const Time sent = steady_clock::now();
      ++n_begun;
      const auto generated = client::generate(url, arrivals[i].request);
      CHECK(generated.has_value(), "request {}: {}", i, generated.error().message());
      run.ttft_ms[i] = to_ms(generated->token_times.front() - sent);
      run.tokens[i] = generated->token_ids;
      n_tokens += generated->token_ids.size();
    });
  }
  while (n_begun < arrivals.size()) {
    if (n_begun > arrivals.size() / 20) sample(url, run);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  for (std::thread& client : clients) client.join();
  run.tokens_per_s = 1e3 * static_cast<double>(n_tokens) / to_ms(steady_clock::now() - begin);
  run.n_moved = moved("requests_total") - n_moved;
  run.n_recomputed = moved("tokens_recomputed_total") - n_recomputed;
  return run;
}

// A run with rebalancing and one without, of the same arrivals.
struct Pair {
  Run without, with;
};
double pooled(const std::vector<const Pair*>& pairs, Run Pair::*run, std::vector<double> Run::*values,
              double p) {
  std::vector<double> all;
  for (const Pair* pair : pairs) {
    const std::vector<double>& some = (pair->*run).*values;
    all.insert(all.end(), some.begin(), some.end());
  }
  return percentile(std::move(all), p);
}

// What rebalancing makes of a percentile, in percent of what it is without; of all runs together.
struct Measure {
  std::vector<double> Run::*values;
  double p;
  double of(const std::vector<const Pair*>& pairs) const {
    return 100 * pooled(pairs, &Pair::with, values, p) / pooled(pairs, &Pair::without, values, p);
  }
};

// As wide as nine in ten of what runs drawn from these, with replacement, give (the bootstrap).
std::pair<double, double> confidence(const Measure& measure, const std::vector<const Pair*>& pairs) {
  constexpr int kDraws = 400;
  Random random(1);
  std::vector<double> drawn;
  for (int i = 0; i < kDraws; ++i) {
    std::vector<const Pair*> some;
    for (std::size_t n = 0; n < pairs.size(); ++n) some.push_back(pairs[random.below(pairs.size())]);
    drawn.push_back(measure.of(some));
  }
  return {percentile(drawn, 0.05), percentile(drawn, 0.95)};
}

bool report(const char* name, const Measure& measure, double most, const std::vector<const Pair*>& pairs,
            nlohmann::ordered_json& json) {
  const double percent = measure.of(pairs);
  const auto [low, high] = confidence(measure, pairs);
  const bool is_met = percent <= most;
  fmt::print("{:<34} {:6.1f}% of without ({:.1f} .. {:.1f}: nine in ten)   at most {:.0f}%: {}\n", name,
             percent, low, high, most, is_met ? "met" : "NOT MET");
  json[name] = {{"percent_of_without", percent}, {"low", low}, {"high", high}};
  return is_met;
}

void print(const char* name, std::uint64_t seed, const Run& run) {
  fmt::print(
      "{:>3} {:<8} P95 of max / mean of KV held {:.2f}, P99 of the first token {:.0f} ms, {:.0f} tokens/s, "
      "{:.0f} requests moved, {:.0f} of their tokens computed again\n",
      seed, name, percentile(run.imbalance, 0.95), percentile(run.ttft_ms, 0.99), run.tokens_per_s,
      run.n_moved, run.n_recomputed);
  std::fflush(stdout);
}

int run_bench(const Options& options) {
  bench::LongStreams streams = options.streams;  // room for the longest
  streams.context *= kLongest, streams.n_tokens *= kLongest;
  const auto with = streams.start(options.n_ranks),
             without = streams.start(options.n_ranks, {"--no-rebalance"});
  const double per_second =
      options.per_second > 0 ? options.per_second : options.load * capacity(without->url(), options);
  fmt::print("{:.2f} requests a second, {} of each run\n", per_second, options.n_requests);
  std::vector<std::unique_ptr<Pair>> runs;
  std::vector<const Pair*> pairs;
  for (std::uint64_t seed = 1; seed <= options.n_runs; ++seed) {
    const auto requests = arrivals(options, per_second, seed);
    auto pair = std::make_unique<Pair>();
    // In turn: what the machine does beside it favours neither.
    if (seed % 2 == 0) pair->with = measure(with->url(), requests);
    pair->without = measure(without->url(), requests);
    if (seed % 2 == 1) pair->with = measure(with->url(), requests);
    CHECK(pair->without.tokens == pair->with.tokens, "streams differ, seed {}", seed);
    print("without", seed, pair->without);
    print("with", seed, pair->with);
    pairs.push_back(pair.get());
    runs.push_back(std::move(pair));
  }
  nlohmann::ordered_json json{{"requests_per_second", per_second}, {"runs", options.n_runs}};
  bool met = report("P95 of max / mean of KV held", {&Run::imbalance, 0.95}, 80, pairs, json);
  met &= report("P99 of the first token", {&Run::ttft_ms, 0.99}, 105, pairs, json);
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
  app.add_option("--load", options.load, "how many come, as a part of what the ranks can do")
      ->capture_default_str();
  app.add_option("--per-second", options.per_second, "how many come, in the mean; 0: by --load")
      ->capture_default_str();
  app.add_option("--runs", options.n_runs, "each with and without")->capture_default_str();
  app.add_option("--json", options.json_path, "where the numbers go")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  return concertina::run_bench(options);
}
