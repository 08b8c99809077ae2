// How long a change of size takes, and what streams notice of it. `./dev bench scale`.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>

#include "base/check.h"
#include "bench/long_streams.h"
#include "bench/processor_time.h"
#include "bench/scale_moves.h"
#include "bench/served.h"
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
  std::string json_path = "build/bench_scale.json";
  std::size_t n_runs = 7, small = 2;
  std::size_t shrink_from = 0;  // to 1: where the time of that change goes; 0: the usual runs
  std::size_t grow_to = 0;      // from the smaller size; 0: the usual runs
};

using bench::Summary;

using bench::process_s;

struct Run {
  double up_ms = 0, down_ms = 0, down_replay_ms = 0, gap_changing_ms = 0, gap_up_ms = 0, gap_down_ms = 0,
         gap_newcomers_ms = 0, gap_newcomers_calm_ms = 0, gap_steady_ms = 0, other_load = 0, pause_ms = 0;
  std::uint64_t n_moved = 0;
};

double scale_ms(const std::string& url, std::size_t size, client::OperationInfo& operation) {
  const Time begin = steady_clock::now();
  const auto reply = client::scale(url, {.new_size = size});
  const double took_ms = to_ms(steady_clock::now() - begin);
  CHECK(reply.has_value(), "{}", reply.error().message());
  operation = client::fetch_operation(url, reply->operation_id).value();
  return took_ms;
}

// Streams and, a little later, newcomers: their prompts cost everybody's streams time, with a change or
// without.
struct TwoLoads {
  TwoLoads(const harness::ServerProcess& server, const Options& options, std::uint64_t seed)
      : url(server.url()), seed(seed), streams(url, options.streams.requests(seed), Load::Restart::kNo) {
    bench::wait_for_each(streams, options.streams.n_streams, 20);
    from = steady_clock::now();
  }
  void add_newcomers() {
    newcomers.emplace(url, harness::make_requests(seed + 1, 3, 300, 4093, 60), Load::Restart::kNo);
    newcomers->wait_for_tokens(60);
  }
  std::vector<harness::StreamRecord> join() {
    const auto records = streams.join();
    for (const auto& record : records) CHECK(record.error.empty(), "{}", record.error);
    for (const auto& record : newcomers->join()) CHECK(record.error.empty(), "{}", record.error);
    return records;
  }
  const std::string url;
  const std::uint64_t seed;
  Load streams;
  std::optional<Load> newcomers;
  Time from;
};

double gap_ms(const std::vector<harness::StreamRecord>& records, Time from, Time to) {
  return 1e3 * harness::worst_gap_s(records, from, to);
}

// The same loads twice: at the small size without a change, then with the size going up and down.
Run measure(const harness::ServerProcess& server, const Options& options, std::uint64_t seed) {
  Run run;
  const auto settle = std::chrono::milliseconds(50);  // what a change leaves behind shows a little later
  const bench::LoadWatch watch([&] { return bench::used_s(server); });
  {
    TwoLoads loads(server, options, seed);
    std::this_thread::sleep_for(settle);
    const Time came = steady_clock::now();
    loads.add_newcomers();
    const Time to = steady_clock::now() + 2 * settle;
    const auto records = loads.join();
    run.gap_steady_ms = gap_ms(records, loads.from, to);
    run.gap_newcomers_calm_ms = gap_ms(records, came, to);
  }
  {
    TwoLoads loads(server, options, seed);
    client::OperationInfo operation;
    run.up_ms = scale_ms(server.url(), options.small + 1, operation);
    run.pause_ms = operation.max_pause_ms;
    const Time up_to = steady_clock::now() + settle;
    std::this_thread::sleep_until(up_to);
    loads.add_newcomers();  // the joiner is idle: they go there and must move again
    const Time down_from = steady_clock::now();
    run.down_ms = scale_ms(server.url(), options.small, operation);
    const Time down_to = steady_clock::now() + settle;
    run.down_replay_ms = operation.phase_ms("preparing");
    run.n_moved = operation.moved_requests;
    run.pause_ms = std::max(run.pause_ms, operation.max_pause_ms);
    const auto records = loads.join();
    run.gap_up_ms = gap_ms(records, loads.from, up_to);
    run.gap_newcomers_ms = gap_ms(records, up_to, down_from);
    run.gap_down_ms = gap_ms(records, down_from, down_to);
    run.gap_changing_ms = gap_ms(records, loads.from, down_to + settle);
  }
  run.other_load = watch.other_load();
  return run;
}

// Share of one core that the server and its ranks use while nobody asks for anything.
double idle_share(const harness::ServerProcess& server) {
  const auto used = [&] { return bench::used_s(server) - process_s(getpid()); };
  const double before = used();
  std::this_thread::sleep_for(std::chrono::seconds(5));
  return (used() - before) / 5;
}

int run_bench(const Options& options) {
  if (options.shrink_from > 0)
    return bench::shrink(options.streams, options.shrink_from, options.n_runs) ? 0 : 1;
  if (options.grow_to > 0)
    return bench::grow(options.streams, options.small, options.grow_to, options.n_runs) ? 0 : 1;
  const auto started = options.streams.start(options.small);
  const harness::ServerProcess& server = *started;
  std::vector<Run> runs;
  std::size_t n_discarded = 0;
  fmt::print("{:>4} {:>9} {:>9} {:>12} {:>7} {:>14} {:>14} {:>9} {:>11}\n", "run", "up ms", "down ms",
             "of it replay", "moved", "gap, changing", "gap, steady", "pause ms", "other load");
  for (std::uint64_t seed = 1; runs.size() < options.n_runs && n_discarded < 3 * options.n_runs; ++seed) {
    const Run run = measure(server, options, seed);
    const bool kept = run.other_load <= bench::kMaxOtherLoad;
    fmt::print("{:>4} {:>9.1f} {:>9.1f} {:>12.1f} {:>7} {:>11.1f} ms {:>11.1f} ms {:>9.3f} {:>10.1f}%{}\n",
               seed, run.up_ms, run.down_ms, run.down_replay_ms, run.n_moved, run.gap_changing_ms,
               run.gap_steady_ms, run.pause_ms, 100 * run.other_load, kept ? "" : "  thrown away");
    std::fflush(stdout);
    if (kept) runs.push_back(run);
    n_discarded += kept ? 0 : 1;
  }
  if (runs.empty()) {
    fmt::print(stderr, "every run was disturbed by other load on the machine\n");
    return 1;
  }
  const double idle = idle_share(server);
  nlohmann::ordered_json json{{"binary", options.streams.binary}, {"streams", options.streams.n_streams},
                              {"small_size", options.small},      {"runs", runs.size()},
                              {"thrown_away", n_discarded},       {"idle_share_of_a_core", idle}};
  const auto summarize = [&](const char* name, double Run::*member) {
    Summary summary;
    for (const Run& run : runs) summary.values.push_back(run.*member);
    json[name] = summary.json();
    return summary;
  };
  const Summary up = summarize("up_ms", &Run::up_ms), down = summarize("down_ms", &Run::down_ms);
  const Summary replay = summarize("down_replay_ms", &Run::down_replay_ms),
                pause = summarize("pause_ms", &Run::pause_ms);
  const Summary changing = summarize("gap_changing_ms", &Run::gap_changing_ms),
                steady = summarize("gap_steady_ms", &Run::gap_steady_ms);
  const double gap_limit_ms = 1.5 * steady.median() + 10;
  fmt::print("\n{} runs, {} streams\n", runs.size(), options.streams.n_streams);
  bool met = up.line(fmt::format("scale-up {} -> {}, ms", options.small, options.small + 1), "at most 500",
                     up.median() <= 500);
  met &= down.line(fmt::format("scale-down {} -> {}, ms", options.small + 1, options.small),
                   fmt::format("at most 500 + replay {:.1f}", replay.median()),
                   down.median() <= 500 + replay.median());
  met &= changing.line("worst gap during changes, ms", fmt::format("at most {:.1f}", gap_limit_ms),
                       changing.median() <= gap_limit_ms);
  summarize("gap_up_ms", &Run::gap_up_ms).line("  while a rank joins, ms", "", true);
  summarize("gap_newcomers_ms", &Run::gap_newcomers_ms)
      .line("  while newcomers start on the joiner, ms", "", true);
  summarize("gap_down_ms", &Run::gap_down_ms).line("  while a rank leaves, ms", "", true);
  steady.line("worst gap without a change, ms", "", true);
  summarize("gap_newcomers_calm_ms", &Run::gap_newcomers_calm_ms)
      .line("  while newcomers start, ms", "", true);
  pause.line("longest pause of a rank, ms", "", true);
  fmt::print("{:<42} {:.2f}% of a core   below 1%{}\n", "idle, all processes", 100 * idle,
             idle < 0.01 ? ": met" : ": NOT MET");
  met &= idle < 0.01;
  json["targets_met"] = met;
  bench::write_json(options.json_path, json);
  return met ? 0 : 1;
}

}  // namespace
}  // namespace concertina

int main(int argc, char** argv) {
  concertina::Options options;
  CLI::App app("How long a change of size takes, and what streams notice of it");
  options.streams.add_to(app);
  app.add_option("--runs", options.n_runs, "runs that count")->capture_default_str();
  app.add_option("--size", options.small, "the smaller size")->capture_default_str();
  app.add_option("--shrink-from", options.shrink_from,
                 "only: from that many ranks to one, phase by phase, and where the gaps are");
  app.add_option("--grow-to", options.grow_to,
                 "only: from the smaller size to that many, and the rate a second later");
  app.add_option("--json", options.json_path, "where the numbers go")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  return concertina::run_bench(options);
}
