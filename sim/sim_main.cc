// concertina-sim: the protocol in virtual time, from seeds.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>

#include "sim/simulation.h"

namespace concertina::sim {
namespace {

struct RunOptions {
  std::uint64_t first_seed = 1, n_seeds = 100;
  std::optional<std::uint64_t> seed;
  std::size_t max_ranks = 64;
  std::string mutant = "none";
  bool coverage = false;
};

BrokenRule rule_of(const std::string& mutant) {
  for (const Mutant& one : all_mutants()) {
    if (mutant == one.name) return one.rule;
  }
  return {};
}

int run(const RunOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  const std::uint64_t first = options.seed.value_or(options.first_seed);
  const std::uint64_t n = options.seed ? 1 : options.n_seeds;
  Coverage coverage;
  std::uint64_t trace_hash = 0;
  for (std::uint64_t seed = first; seed < first + n; ++seed) {
    Scenario scenario = Scenario::draw(seed, options.max_ranks);
    scenario.break_rule(rule_of(options.mutant));
    const Outcome outcome = simulate(scenario, coverage);
    if (!outcome.violations.empty()) {
      fmt::print("{}replay: concertina-sim --seed {} --max-ranks {}{}\n", outcome.report, seed,
                 options.max_ranks, options.mutant == "none" ? "" : " --mutant " + options.mutant);
      return 1;
    }
    trace_hash ^= outcome.trace_hash * seed;
  }
  const double s = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  fmt::print(
      "{} seeds from {}, {:.1f} s: no violation\n  {} events, {} steps of ranks ({} void), {} tokens of {} "
      "requests\n"
      "  {} operations done, {} ranks killed, {} stopped, {} fenced; trace {:016x}\n",
      n, first, s, coverage.n_events, coverage.n_steps, coverage.n_void_steps, coverage.n_tokens,
      coverage.n_requests, coverage.n_operations, coverage.n_killed, coverage.n_stopped, coverage.n_fenced,
      trace_hash);
  if (options.coverage) fmt::print("{}", coverage.table());
  return 0;
}

}  // namespace
}  // namespace concertina::sim

int main(int argc, char** argv) {
  using namespace concertina::sim;
  CLI::App app("Concertina's coordinator, journal, scheduler and exchange protocol in virtual time");
  RunOptions options;
  app.add_option("--seeds", options.n_seeds, "how many runs, one a seed")->capture_default_str();
  app.add_option("--first-seed", options.first_seed)->capture_default_str();
  app.add_option("--seed", options.seed, "this one alone: the same run again, event by event");
  app.add_option("--max-ranks", options.max_ranks, "a run has up to so many")
      ->capture_default_str()
      ->check(CLI::Range(1, 100000));
  std::set<std::string> mutants{"none"};
  for (const Mutant& mutant : all_mutants()) mutants.insert(mutant.name);
  app.add_option("--mutant", options.mutant, "break this rule, to see it noticed")
      ->check(CLI::IsMember(mutants));
  app.add_flag("--coverage", options.coverage, "print which events the coordinator met in which states");
  CLI11_PARSE(app, argc, argv);
  return run(options);
}
