#include "bench/scale_moves.h"

#include <fmt/format.h>

#include <algorithm>
#include <thread>

#include "base/check.h"
#include "bench/summary.h"
#include "client/admin.h"

namespace concertina::bench {

namespace {

using harness::Load;
using std::chrono::steady_clock;

struct Change {
  Time from, to;
  client::OperationInfo operation;
};

Change scale(const std::string& url, std::size_t size) {
  Change change{.from = steady_clock::now()};
  const auto reply = client::scale(url, {.new_size = size});
  change.to = steady_clock::now();
  CHECK(reply.has_value(), "{}", reply.error().message());
  change.operation = client::fetch_operation(url, reply->operation_id).value();
  return change;
}

double gap_ms(const std::vector<harness::StreamRecord>& records, Time from, Time to) {
  return 1e3 * harness::worst_gap_s(records, from, to);
}

// What moved, as the ranks count it.
struct Moved {
  explicit Moved(const std::string& url)
      : n_copied(metric(url, "concertina_kv_moved_tokens_copied_total")),
        n_recomputed(metric(url, "concertina_kv_moved_tokens_recomputed_total")) {}
  double n_copied, n_recomputed;
};

void print_phases(const Change& change, const std::vector<harness::StreamRecord>& records) {
  Time begin = change.from;
  for (const auto& [name, ms] : change.operation.phases_ms) {
    const Time end =
        begin + std::chrono::duration_cast<Duration>(std::chrono::duration<double, std::milli>(ms));
    fmt::print("       {:<12} {:>8.1f} ms, worst gap that ends in it {:>7.1f} ms\n", name, ms,
               gap_ms(records, begin, end));
    begin = end;
  }
}

// The rate is of those that are left, which are few where the first end before the last have begun.
void print_rates(const char* what, const std::vector<harness::StreamRecord>& records, Time came) {
  constexpr auto kHalf = std::chrono::milliseconds(500);
  const auto n_left = std::ranges::count_if(
      records, [&](const auto& record) { return record.generation.token_times.back() > came; });
  fmt::print("     {}, {} of {} streams go on; tokens/s each half a second:", what, n_left, records.size());
  for (Time at = came; at < came + std::chrono::seconds(4); at += kHalf)
    fmt::print(" {:.0f}", rate(records, at, at + kHalf));
  fmt::print("\n");
}

}  // namespace

bool shrink(const LongStreams& streams, std::size_t from_size, std::size_t n_runs) {
  const auto server = streams.start(from_size);
  const std::string url = server->url();
  bool are_equal = true;
  Summary took, gaps, calm;
  for (std::uint64_t seed = 1; seed <= n_runs; ++seed) {
    if (seed > 1) scale(url, from_size);
    const auto requests = streams.requests(seed);
    const auto undisturbed = harness::run_alone(url, requests);
    const Moved before(url);
    Load load(url, requests, Load::Restart::kNo);
    wait_for_each(load, streams.n_streams, std::min<std::size_t>(20, streams.n_tokens / 8));
    const Time calm_from = steady_clock::now();
    wait_for_each(load, streams.n_streams, streams.n_tokens / 3);
    const Change change = scale(url, 1);
    const auto records = load.join();
    const Moved after(url);
    const auto compared = harness::compare(records, undisturbed);
    are_equal &= compared.n_failed + compared.n_differing == 0;
    took.values.push_back(to_ms(change.to - change.from));
    gaps.values.push_back(gap_ms(records, change.from, change.to + std::chrono::milliseconds(200)));
    const double after_ms = gap_ms(records, change.to + std::chrono::milliseconds(300), Time::max());
    calm.values.push_back(gap_ms(records, calm_from, change.from));
    fmt::print(
        "{:>4} {} -> 1: {:.1f} ms, {} requests moved; worst gap {:.1f} ms (calm {:.1f}, on one rank after "
        "{:.1f}); tokens/s "
        "{:.0f} before; {} failed, {} differ; tokens copied {:.0f}, recomputed {:.0f}\n",
        seed, from_size, took.values.back(), change.operation.moved_requests, gaps.values.back(),
        calm.values.back(), after_ms, rate(records, calm_from, change.from), compared.n_failed,
        compared.n_differing, after.n_copied - before.n_copied, after.n_recomputed - before.n_recomputed);
    print_phases(change, records);
    std::fflush(stdout);
  }
  took.line(fmt::format("scale-in {} -> 1, ms", from_size), "", true);
  gaps.line("worst gap, ms", fmt::format("at most {:.1f}", 1.5 * calm.median() + 10),
            gaps.median() <= 1.5 * calm.median() + 10);
  calm.line("worst gap before the change, ms", "", true);
  return are_equal;
}

bool grow(const LongStreams& streams, std::size_t from_size, std::size_t to_size, std::size_t n_runs) {
  constexpr auto kSettle = std::chrono::seconds(1), kWindow = std::chrono::seconds(3);
  const auto server = streams.start(from_size);
  const std::string url = server->url();
  Summary shares;
  for (std::uint64_t seed = 1; seed <= n_runs; ++seed) {
    const auto requests = streams.requests(seed);
    const std::size_t n_before = std::min<std::size_t>(20, streams.n_tokens / 8);
    const auto run = [&](std::size_t size) {
      scale(url, size);
      Load load(url, requests, Load::Restart::kNo);
      wait_for_each(load, streams.n_streams, n_before);
      std::optional<Change> change;
      if (size != to_size) change = scale(url, to_size);
      const Time came = steady_clock::now();
      auto records = load.join();
      for (const auto& record : records) CHECK(record.error.empty(), "{}", record.error);
      print_rates(size == to_size ? "began there" : "grown", records, came);
      return std::pair(rate(records, came + kSettle, came + kSettle + kWindow), std::move(records));
    };
    const auto [balanced, ideal] = run(to_size);
    const auto [grown, records] = run(from_size);
    for (std::size_t i = 0; i < records.size(); ++i)
      CHECK(records[i].generation.token_ids == ideal[i].generation.token_ids, "stream {} differs", i);
    shares.values.push_back(100 * grown / balanced);
    fmt::print(
        "{:>4} {} -> {}: {:.1f} tokens/s from 1 s after the change on, {:.1f} where the streams began there: "
        "{:.1f}%\n",
        seed, from_size, to_size, grown, balanced, shares.values.back());
    std::fflush(stdout);
  }
  return shares.line("share of the balanced rate, %", "at least 95", shares.median() >= 95);
}

}  // namespace concertina::bench
