// concertina-sim: the protocol in virtual time, from seeds; and planning questions.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>

#include "sim/planning.h"
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
  Outcome sum;
  for (std::uint64_t seed = first; seed < first + n; ++seed) {
    Scenario scenario = Scenario::draw(seed, options.max_ranks);
    scenario.break_rule(rule_of(options.mutant));
    const Outcome outcome = simulate(scenario, coverage);
    if (!outcome.violations.empty()) {
      fmt::print("{}replay: concertina-sim --seed {} --max-ranks {}{}\n", outcome.report, seed,
                 options.max_ranks, options.mutant == "none" ? "" : " --mutant " + options.mutant);
      return 1;
    }
    sum.n_events += outcome.n_events;
    sum.n_steps += outcome.n_steps;
    sum.n_void_steps += outcome.n_void_steps;
    sum.n_tokens += outcome.n_tokens;
    sum.n_requests += outcome.n_requests;
    sum.n_killed += outcome.n_killed;
    sum.n_stopped += outcome.n_stopped;
    sum.n_fenced += outcome.n_fenced;
    sum.n_operations += outcome.n_operations;
    sum.trace_hash ^= outcome.trace_hash * seed;
  }
  const double s = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  fmt::print(
      "{} seeds from {}, {:.1f} s: no violation\n  {} events, {} steps of ranks ({} void), {} tokens of {} "
      "requests\n"
      "  {} operations done, {} ranks killed, {} stopped, {} fenced; trace {:016x}\n",
      n, first, s, sum.n_events, sum.n_steps, sum.n_void_steps, sum.n_tokens, sum.n_requests,
      sum.n_operations, sum.n_killed, sum.n_stopped, sum.n_fenced, sum.trace_hash);
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
  PlanningQuestion question{.n_ranks = 64, .n_layers = 61, .n_experts = 256, .expert_bytes = 44040192};
  CLI::App* plan = app.add_subcommand("plan", "how long a change takes to plan, and what it moves");
  plan->add_option("--ranks", question.n_ranks)->capture_default_str()->check(CLI::Range(1, 1000000));
  plan->add_option("--layers", question.n_layers, "MoE layers")->capture_default_str();
  plan->add_option("--experts", question.n_experts, "of each layer")->capture_default_str();
  plan->add_option("--expert-bytes", question.expert_bytes,
                   "of one expert of one layer (default: DeepSeek-V3's in fp8)")
      ->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  if (plan->parsed()) {
    fmt::print("{}", answer(question));
    return 0;
  }
  return run(options);
}
