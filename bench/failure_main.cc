// What streams notice of a rank that dies or stops. `./dev bench failure`.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <csignal>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "bench/long_streams.h"
#include "bench/summary.h"
#include "client/admin.h"
#include "tests/harness/load.h"
#include "tests/harness/server_process.h"

namespace concertina {
namespace {

using harness::Load;
using std::chrono::steady_clock;

struct Options {
  bench::LongStreams streams;
  std::string json_path = "build/bench_failure.json";
  std::size_t n_runs = 7, size = 3;
  std::uint32_t peer_timeout_ms = 500;
};

struct Run {
  double detected_ms = 0, gap_ms = 0, whole_ms = 0, recovering_ms = 0, gap_steady_ms = 0;
  double n_copied = 0, n_recomputed = 0;  // tokens of requests that moved
  std::size_t n_carried = 0, n_failed = 0, n_differing = 0;
};

class Bench {
 public:
  explicit Bench(const Options& options) : options_(options) {
    server_ =
        options.streams.start(options.size, {"--peer-timeout-ms", std::to_string(options.peer_timeout_ms)});
    requests_ = options.streams.requests(1);
    undisturbed_ = harness::run_alone(server_->url(), requests_);
  }

  double steady_gap_ms() {
    Load load(server_->url(), requests_, Load::Restart::kNo);
    bench::wait_for_each(load, options_.streams.n_streams, 20);
    const Time from = steady_clock::now();
    const auto records = load.join();
    return 1e3 * harness::worst_gap_s(records, from, steady_clock::now());
  }

  Run measure(int signal) {
    Run run;
    run.gap_steady_ms = steady_gap_ms();
    Load load(server_->url(), requests_, Load::Restart::kNo);
    bench::wait_for_each(load, options_.streams.n_streams, 40);
    const auto before = client::fetch_cluster(server_->url()).value();
    const client::RankInfo victim =
        *std::max_element(before.ranks.begin(), before.ranks.end(),
                          [](const auto& a, const auto& b) { return a.n_running < b.n_running; });
    run.n_carried = victim.n_running;
    const auto moved = [&](const char* what) {
      return bench::metric(server_->url(), std::string("concertina_kv_moved_tokens_") + what + "_total",
                           victim.rank);
    };
    const double n_copied = moved("copied"), n_recomputed = moved("recomputed");
    const Time hit = steady_clock::now();
    const auto hit_at = std::chrono::system_clock::now();
    kill(static_cast<pid_t>(victim.pid), signal);
    client::OperationInfo operation;
    CHECK(harness::eventually([&] {
      const auto now = client::fetch_cluster(server_->url());
      if (now && now->operation) operation = *now->operation;
      return now && !now->operation && now->size == options_.size && now->ranks.size() == options_.size &&
             std::none_of(now->ranks.begin(), now->ranks.end(),
                          [&](const auto& r) { return r.pid == victim.pid; });
    }));
    run.whole_ms = to_ms(steady_clock::now() - hit);
    run.detected_ms = to_ms(operation.started - hit_at);
    if (const auto ended = client::fetch_operation(server_->url(), operation.id))
      run.recovering_ms = ended->phase_ms("recovering");
    const auto records = load.join();
    run.n_copied = moved("copied") - n_copied, run.n_recomputed = moved("recomputed") - n_recomputed;
    run.gap_ms = 1e3 * harness::worst_gap_s(records, hit, steady_clock::now());
    const harness::Comparison compared = harness::compare(records, undisturbed_);
    run.n_failed = compared.n_failed;
    run.n_differing = compared.n_differing;
    return run;
  }

 private:
  const Options& options_;
  std::unique_ptr<harness::ServerProcess> server_;
  std::vector<client::GenerationRequest> requests_;
  std::vector<std::vector<TokenId>> undisturbed_;
};

bool measure_all(Bench& bench, const Options& options, const char* name, int signal, double gap_limit_ms,
                 double whole_limit_ms, nlohmann::ordered_json& json) {
  std::vector<Run> runs;
  fmt::print("{}\n{:>4} {:>9} {:>12} {:>13} {:>12} {:>13} {:>9} {:>7} {:>10} {:>8} {:>11}\n", name, "run",
             "gap ms", "heard in ms", "recovering ms", "whole in ms", "gap, steady", "carried", "failed",
             "differing", "copied", "recomputed");
  for (std::size_t i = 0; i < options.n_runs; ++i) {
    const Run& run = runs.emplace_back(bench.measure(signal));
    fmt::print(
        "{:>4} {:>9.1f} {:>12.1f} {:>13.1f} {:>12.1f} {:>13.1f} {:>9} {:>7} {:>10} {:>8.0f} {:>11.0f}\n",
        i + 1, run.gap_ms, run.detected_ms, run.recovering_ms, run.whole_ms, run.gap_steady_ms, run.n_carried,
        run.n_failed, run.n_differing, run.n_copied, run.n_recomputed);
    std::fflush(stdout);
  }
  const auto of = [&](double Run::*member) {
    bench::Summary summary;
    for (const Run& run : runs) summary.values.push_back(run.*member);
    return summary;
  };
  std::size_t n_bad = 0;
  for (const Run& run : runs) n_bad += run.n_failed + run.n_differing + (run.n_carried == 0 ? 1 : 0);
  const bench::Summary gap = of(&Run::gap_ms), whole = of(&Run::whole_ms),
                       recovering = of(&Run::recovering_ms);
  json[name] = {{"gap_ms", gap.json()},
                {"detected_ms", of(&Run::detected_ms).json()},
                {"recovering_ms", recovering.json()},
                {"whole_ms", whole.json()},
                {"gap_steady_ms", of(&Run::gap_steady_ms).json()},
                {"failed_or_differing", n_bad}};
  bool met = gap.line("worst gap between two tokens, ms", fmt::format("at most {:.0f}", gap_limit_ms),
                      gap.median() <= gap_limit_ms);
  met &= whole.line("all ranks back after, ms", fmt::format("at most {:.0f}", whole_limit_ms),
                    whole.median() <= whole_limit_ms);
  of(&Run::detected_ms).line("of it until the front knows, ms", "", true);
  recovering.line("of it freeze, prepare and enter, ms", "", true);
  fmt::print("streams failed or differing: {}\n\n", n_bad);
  return met && n_bad == 0;
}

int run_bench(const Options& options) {
  Bench bench(options);
  nlohmann::ordered_json json{{"streams", options.streams.n_streams},
                              {"ranks", options.size},
                              {"runs", options.n_runs},
                              {"peer_timeout_ms", options.peer_timeout_ms}};
  const double timeout = options.peer_timeout_ms;
  bool met = measure_all(bench, options, "kill -9", SIGKILL, 600, 2000, json);
  met &= measure_all(bench, options, "SIGSTOP", SIGSTOP, 600 + timeout, 2000 + timeout, json);
  json["targets_met"] = met;
  bench::write_json(options.json_path, json);
  return met ? 0 : 1;
}

}  // namespace
}  // namespace concertina

int main(int argc, char** argv) {
  concertina::Options options;
  CLI::App app("What streams notice of a rank that dies or stops");
  options.streams.add_to(app);
  app.add_option("--runs", options.n_runs, "of each kind")->capture_default_str();
  app.add_option("--size", options.size, "ranks")->capture_default_str();
  app.add_option("--peer-timeout-ms", options.peer_timeout_ms)->capture_default_str();
  app.add_option("--json", options.json_path, "where the numbers go")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  return concertina::run_bench(options);
}
