#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <csignal>
#include <memory>
#include <thread>

#include "base/escape.h"
#include "cli/client_commands.h"
#include "cli/server_address.h"
#include "client/admin.h"

namespace concertina::cli {

namespace {

constexpr Duration kRedrawInterval = std::chrono::milliseconds(500);

struct StatusOptions {
  client::Endpoint server{"http://127.0.0.1:8000"};
  bool watch = false;
};

std::string bar(std::size_t used, std::size_t total) {
  constexpr std::size_t kWidth = 10;
  const std::size_t n = total == 0 ? 0 : (used * kWidth + total - 1) / total;
  return std::string(n, '#') + std::string(kWidth - n, '.');
}

std::string describe(const client::OperationInfo& operation) {
  return fmt::format("{} {}: {} -> {} ranks, {}", escaped(operation.kind), escaped(operation.id),
                     operation.from_size, operation.to_size, escaped(operation.phase));
}

// Empty where no rank is missing.
std::string describe_shortage(const client::ClusterInfo& cluster) {
  if (cluster.n_missing == 0) return "";
  if (cluster.epoch == 0 && !cluster.last_start_error) return "starting\n";
  std::string out = fmt::format("short of {} of {} wanted ranks", cluster.n_missing, cluster.wanted_size);
  if (cluster.next_start_s) out += fmt::format("; the next start comes in {:.1f} s", *cluster.next_start_s);
  if (cluster.last_start_error) out += fmt::format("; the last one failed: {}", *cluster.last_start_error);
  return out + "\n";
}

// Empty where nothing moved.
std::string describe_moves(const client::ClusterInfo& cluster) {
  client::RankInfo all;
  for (const client::RankInfo& rank : cluster.ranks) {
    all.n_moved_requests += rank.n_moved_requests;
    all.n_tokens_copied += rank.n_tokens_copied;
    all.n_tokens_recomputed += rank.n_tokens_recomputed;
    all.n_copies_failed += rank.n_copies_failed;
  }
  if (all.n_moved_requests == 0) return "";
  return fmt::format(
      "\nmoved to these ranks: {} requests, {} tokens copied, {} computed again; {} could not be copied\n",
      all.n_moved_requests, all.n_tokens_copied, all.n_tokens_recomputed, all.n_copies_failed);
}

std::string table(const client::ClusterInfo& cluster) {
  std::string out = fmt::format(
      "epoch {}   {} of at most {} ranks   {}\n{}\n", cluster.epoch, cluster.size, cluster.max_size,
      cluster.operation ? describe(*cluster.operation) : "no operation", describe_shortage(cluster));
  out += fmt::format("{:>4}  {:<8} {:>8} {:<12} {:>7} {:>7}  {:<24} {:>7}\n", "rank", "state", "pid", "host",
                     "running", "waiting", "kv blocks", "experts");
  for (const client::RankInfo& rank : cluster.ranks) {
    out += fmt::format("{:>4}  {:<8} {:>8} {:<12} {:>7} {:>7}  {} {:<13} {:>7}\n", rank.rank,
                       escaped(rank.state), rank.pid, escaped(rank.host), rank.n_running, rank.n_waiting,
                       bar(rank.kv_blocks_used, rank.kv_blocks_total),
                       fmt::format("{}/{}", rank.kv_blocks_used, rank.kv_blocks_total), rank.n_experts);
  }
  if (cluster.n_rebalanced > 0) out += fmt::format("{} requests rebalanced\n", cluster.n_rebalanced);
  return out + describe_moves(cluster);
}

std::atomic<bool> interrupted{false};  // set by a signal handler, which can reach nothing else

int run_status(const StatusOptions& options) {
  const bool on_terminal = isatty(STDOUT_FILENO) != 0;
  bool seen = false;
  if (options.watch) std::signal(SIGINT, [](int) { interrupted = true; });
  while (!interrupted) {
    const auto cluster = client::fetch_cluster(options.server);
    // Who watches may be watching a restart; a first look that fails is a wrong address.
    if (!cluster && (!options.watch || !seen)) {
      print_error(cluster.error().message());
      return 1;
    }
    seen = true;
    if (options.watch && on_terminal) fmt::print("\033[H\033[2J");
    fmt::print("{}", cluster ? table(*cluster) : escaped(cluster.error().message()) + "\n");
    std::fflush(stdout);
    if (!options.watch) break;
    std::this_thread::sleep_for(kRedrawInterval);
  }
  return 0;
}

}  // namespace

void add_status_command(CLI::App& app, std::function<int()>& run) {
  auto options = std::make_shared<StatusOptions>();
  CLI::App* command =
      app.add_subcommand("status", "Show the ranks of a running server, its epoch and its operation");
  command->add_flag("--watch", options->watch, "redraw twice a second until Ctrl-C");
  add_server_flags(*command, options->server);
  command->callback([options, &run] { run = [options] { return run_status(*options); }; });
}

}  // namespace concertina::cli
