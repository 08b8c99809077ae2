// Tokens per second of the engine alone, each beside what the machine's memory and multipliers allow in the
// same run. `./dev bench engine`.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>

#include "base/check.h"
#include "bench/engine.h"
#include "bench/forms.h"
#include "bench/limits.h"
#include "bench/processor_time.h"
#include "bench/summary.h"

namespace concertina::bench {
namespace {

constexpr double kRunSeconds = 1.0;  // of decoding, at least: processor time is counted in hundredths
constexpr double kMaxSteps = 512;
constexpr std::size_t kPrompt = 8, kMaxDiscarded = 10;

struct Options {
  std::vector<std::string> models;
  std::vector<std::size_t> sequences{1, 8, 32};
  std::vector<std::size_t> prompts{512, 2048, 4096};
  std::vector<std::string> shapes{"1x1", "1x2", "2x1"};           // ranks x threads
  std::vector<std::string> forms{"float32", "bfloat16", "int8"};  // what rows are in products
  std::size_t n_runs = 5;
  std::string json_path = "build/bench_engine.json";
};

// One run: how many tokens, in how many seconds.
struct Run {
  double n_tokens = 0, seconds = 0;
};

// Runs that other programs did not disturb: tokens per second. Fewer than n_runs if there are too few such.
template <typename Measure>
Summary undisturbed(std::size_t n_runs, const Measure& measure) {
  Summary summary;
  std::size_t n_discarded = 0;
  for (std::uint64_t seed = 1; summary.values.size() < n_runs; ++seed) {
    const LoadWatch watch([] { return process_s(getpid()); });
    const Run run = measure(seed);
    const bool quiet = watch.other_load() <= kMaxOtherLoad;
    if (!quiet && ++n_discarded > kMaxDiscarded) {
      fmt::print("  other programs keep taking more than {:.0f}% of the machine: {} of {} runs\n",
                 100 * kMaxOtherLoad, summary.values.size(), n_runs);
      break;
    }
    if (quiet) summary.values.push_back(run.n_tokens / run.seconds);
  }
  return summary;
}

class Table {
 public:
  explicit Table(const Options& options) : options_(options) {}

  void add_engine(const std::string& model_path, const std::string& shape, const std::string& form) {
    EngineOptions engine_options{.model_path = model_path};
    const kernels::RowForm rows = form_of(form);
    engine_options.form = rows;
    const std::size_t x = shape.find('x');
    CHECK(x != std::string::npos, "--shapes: \"{}\" is not RANKSxTHREADS", shape);
    engine_options.n_ranks = std::stoul(shape.substr(0, x));
    engine_options.n_threads = std::stoul(shape.substr(x + 1));
    engine_options.n_sequences = *std::max_element(options_.sequences.begin(), options_.sequences.end());
    const std::size_t longest = *std::max_element(options_.prompts.begin(), options_.prompts.end());
    engine_options.max_model_len = std::max(engine_options.max_model_len, longest + 1);
    auto engine = Engine::create(engine_options);
    CHECK(engine.has_value(), "{}", engine.error().message());
    const model::ModelConfig config = model::read_config(model_path).value();
    const MachineRates& rates = rates_of(engine_options.n_ranks * engine_options.n_threads);
    const LimitOf limit{config, rates, rows, engine_options.n_ranks};
    const auto name = [&](const std::string& what) {
      const std::string name = std::filesystem::path(model_path).filename().string();
      return fmt::format("{} {} {} {}", name, form, shape, what);
    };
    for (const std::size_t n : options_.sequences) {
      const double step_s = (*engine)->decode_s(n, kPrompt, 2, 0) / 2;
      const auto n_steps = static_cast<std::size_t>(std::clamp(kRunSeconds / step_s, 8.0, kMaxSteps));
      const Counters before = (*engine)->counters();
      const Summary summary = undisturbed(options_.n_runs, [&](std::uint64_t seed) {
        return Run{static_cast<double>(n * n_steps), (*engine)->decode_s(n, kPrompt, n_steps, seed)};
      });
      const std::string what = name(fmt::format("decode, {} sequences", n));
      add(what, summary, decode_limit(limit, n));
      add_moe_times(what, before, (*engine)->counters());
    }
    for (const std::size_t n : options_.prompts) {
      const Summary summary = undisturbed(options_.n_runs, [&](std::uint64_t seed) {
        return Run{static_cast<double>(n * engine_options.n_ranks), (*engine)->prefill_s(n, seed)};
      });
      add(name(fmt::format("prefill of {}", n)), summary, prefill_limit(limit, n));
    }
  }

  void write() const { write_json(options_.json_path, json_); }

 private:
  const MachineRates& rates_of(std::size_t n_threads) {
    const auto [at, is_new] = rates_.try_emplace(n_threads);
    if (is_new) {
      at->second = measure_rates(n_threads);
      fmt::print("{} threads: read {:.1f} GB/s, float32 {:.0f} GFLOP/s, BF16 {:.0f}, int8 {:.0f} Gop/s\n",
                 n_threads, at->second.read_gb_s, at->second.fma_gflop_s, at->second.bf16_gflop_s,
                 at->second.vnni_gop_s);
      json_["rates"][std::to_string(n_threads)] = {{"read_gb_s", at->second.read_gb_s},
                                                   {"fma_gflop_s", at->second.fma_gflop_s},
                                                   {"bf16_gflop_s", at->second.bf16_gflop_s},
                                                   {"vnni_gop_s", at->second.vnni_gop_s}};
    }
    return at->second;
  }

  void add(const std::string& name, const Summary& summary, double limit) {
    summary.line(name, fmt::format("limit {:8.1f}, {:3.0f}% of it", limit, 100 * summary.median() / limit));
    std::fflush(stdout);
    json_["tokens_per_s"][name] = summary.json();
    json_["tokens_per_s"][name]["limit"] = limit;
  }

  using Counters = std::vector<exchange::ExchangeCounters>;  // of each rank
  // Microseconds of a MoE layer by part, for each rank: what ranks wait for each other is their skew.
  void add_moe_times(const std::string& name, const Counters& before, const Counters& after) {
    for (std::size_t rank = 0; rank < after.size(); ++rank) {
      const auto n_layers = static_cast<double>(after[rank].n_exchanges - before[rank].n_exchanges);
      fmt::print("    rank {}, a MoE layer, us:", rank);
      for (const exchange::Part part : exchange::kParts) {
        const double us =
            1e3 * to_ms(after[rank].part_times[part] - before[rank].part_times[part]) / n_layers;
        fmt::print(" {} {:.1f}", name_of(part), us);
        json_["moe_layer_us"][name][rank][name_of(part)] = us;
      }
      fmt::print("\n");
    }
  }

  const Options& options_;
  std::map<std::size_t, MachineRates> rates_;
  nlohmann::ordered_json json_;
};

int run(int argc, char** argv) {
  CLI::App app("Tokens per second of the engine alone, beside the machine's limits");
  Options options;
  app.add_option("--model", options.models, "checkpoint folders")->required();
  app.add_option("--shapes", options.shapes, "ranks x threads of each")->capture_default_str();
  app.add_option("--forms", options.forms, "what rows are in products: float32, bfloat16, int8")
      ->check(CLI::IsMember({"float32", "bfloat16", "int8"}))
      ->capture_default_str();
  app.add_option("--sequences", options.sequences, "side by side while decoding")->capture_default_str();
  app.add_option("--prompts", options.prompts, "tokens of each, prefilled 512 at a time")
      ->capture_default_str();
  app.add_option("--runs", options.n_runs, "runs that count")->capture_default_str();
  app.add_option("--json", options.json_path, "where the numbers go")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  Table table(options);
  for (const std::string& model : options.models) {
    for (const std::string& form : options.forms) {
      for (const std::string& shape : options.shapes) table.add_engine(model, shape, form);
    }
  }
  table.write();
  return 0;
}

}  // namespace
}  // namespace concertina::bench

int main(int argc, char** argv) { return concertina::bench::run(argc, argv); }
