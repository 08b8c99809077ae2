// This engine and llama.cpp on the same weights, in turn, in one run. `./dev bench peer`.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <array>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "bench/engine.h"
#include "bench/forms.h"
#include "bench/limits.h"
#include "bench/processor_time.h"
#include "bench/summary.h"

namespace concertina::bench {
namespace {

using Measured = std::map<std::string, double>;  // tokens per second of "decode 8", "prefill 512"

struct Options {
  std::string model, gguf, command;  // the command gets: GGUF THREADS RUNS STEPS SEQUENCES...
  std::vector<std::size_t> sequences{1, 8, 32};
  std::vector<std::string> forms{"float32", "bfloat16"};  // of this engine
  std::size_t n_threads = 2, n_rounds = 3, n_steps = 16;
  std::string json_path = "build/bench_peer.json";
};

constexpr std::size_t kPrompt = 8;
constexpr std::size_t kPrompts[] = {512, 2048, 4096};  // as the peer's program has them

Measured measure_own(Engine& engine, const Options& options, std::uint64_t seed) {
  Measured rates;
  for (const std::size_t n : options.sequences) {
    rates[fmt::format("decode {}", n)] =
        static_cast<double>(n * options.n_steps) / engine.decode_s(n, kPrompt, options.n_steps, seed);
  }
  for (const std::size_t n : kPrompts)
    rates[fmt::format("prefill {}", n)] = static_cast<double>(n) / engine.prefill_s(n, seed);
  return rates;
}

// What the peer's program prints: one JSON object a line.
Measured measure_peer(const Options& options) {
  const std::string command =
      fmt::format("{} '{}' {} 1 {} {}", options.command, options.gguf, options.n_threads, options.n_steps,
                  fmt::join(options.sequences, " "));
  FILE* const pipe = popen(command.c_str(), "r");
  CHECK(pipe != nullptr, "cannot run {}", command);
  std::string output;
  std::array<char, 4096> piece{};
  while (const std::size_t n = fread(piece.data(), 1, piece.size(), pipe)) output.append(piece.data(), n);
  const int status = pclose(pipe);
  CHECK(status == 0, "{} ended with status {}:\n{}", command, status, output);
  Measured rates;
  std::istringstream lines(output);
  for (std::string line; std::getline(lines, line);) {
    const auto record = nlohmann::json::parse(line, nullptr, false);
    if (record.is_object() && record.contains("what"))
      rates[record["what"]] = record["tokens_per_s"].at(0).get<double>();
  }
  return rates;
}

std::map<std::string, std::unique_ptr<Engine>> make_engines(const Options& options) {  // by form
  std::map<std::string, std::unique_ptr<Engine>> engines;
  for (const std::string& form : options.forms) {
    auto engine =
        Engine::create({.model_path = options.model,
                        .n_ranks = 1,
                        .n_threads = options.n_threads,
                        .max_model_len = *std::max_element(std::begin(kPrompts), std::end(kPrompts)) + 1,
                        .form = form_of(form)});
    CHECK(engine.has_value(), "{}", engine.error().message());
    (*engine)->decode_s(1, kPrompt, 2, 0);
    engines[form] = std::move(*engine);
  }
  return engines;
}

int run(const Options& options) {
  const auto engines = make_engines(options);
  const model::ModelConfig config = model::read_config(options.model).value();
  std::map<std::string, std::map<std::string, Summary>> own;  // by form
  std::map<std::string, Summary> peer;
  std::size_t n_discarded = 0, n_rounds = 0;
  for (std::uint64_t round = 1; n_discarded < 3 * options.n_rounds; ++round) {
    if (n_rounds == options.n_rounds) break;
    const LoadWatch watch([] { return process_s(getpid()); });
    std::map<std::string, Measured> ours;
    for (const auto& [form, engine] : engines) ours[form] = measure_own(*engine, options, round);
    const Measured theirs = measure_peer(options);
    const double other = watch.other_load();
    fmt::print("round {}: other load {:.1f}%{}\n", round, 100 * other,
               other <= kMaxOtherLoad ? "" : ", thrown away");
    std::fflush(stdout);
    if (other > kMaxOtherLoad) {
      ++n_discarded;
      continue;
    }
    ++n_rounds;
    for (const auto& [form, measured] : ours) {
      for (const auto& [what, rate] : measured) own[form][what].values.push_back(rate);
    }
    for (const auto& [what, rate] : theirs) peer[what].values.push_back(rate);
  }
  if (own.empty()) {
    fmt::print(stderr, "every round was disturbed by other load on the machine\n");
    return 1;
  }
  const MachineRates rates = measure_rates(options.n_threads);
  nlohmann::ordered_json json{{"model", options.model},
                              {"threads", options.n_threads},
                              {"read_gb_s", rates.read_gb_s},
                              {"fma_gflop_s", rates.fma_gflop_s},
                              {"bf16_gflop_s", rates.bf16_gflop_s}};
  fmt::print("{} threads: read {:.1f} GB/s, float32 {:.0f} GFLOP/s, BF16 {:.0f}\n", options.n_threads,
             rates.read_gb_s, rates.fma_gflop_s, rates.bf16_gflop_s);
  const auto lines = [&](const std::string& what, const auto& limit_of) {
    if (!peer.contains(what)) return;
    peer[what].line(what + ", llama.cpp", "");
    json[what]["peer"] = peer[what].json();
    for (const auto& [form, measured] : own) {
      const Summary& ours = measured.at(what);
      const double ratio = ours.median() / peer[what].median(), limit = limit_of(form_of(form));
      ours.line(fmt::format("{}, this engine, {}", what, form),
                fmt::format("limit {:.1f}; {:.2f} times as fast", limit, ratio));
      json[what][form] = {{"own", ours.json()}, {"limit", limit}, {"ratio", ratio}};
    }
  };
  for (const std::size_t n : options.sequences)
    lines(fmt::format("decode {}", n), [&](kernels::RowForm form) {
      return decode_limit({config, rates, form}, n);
    });
  for (const std::size_t n : kPrompts)
    lines(fmt::format("prefill {}", n), [&](kernels::RowForm form) {
      return prefill_limit({config, rates, form}, n);
    });
  write_json(options.json_path, json);
  return 0;
}

}  // namespace
}  // namespace concertina::bench

int main(int argc, char** argv) {
  concertina::bench::Options options;
  CLI::App app("This engine and llama.cpp on the same weights, in turn");
  app.add_option("--model", options.model, "checkpoint folder")->required();
  app.add_option("--gguf", options.gguf, "the same weights for the peer")->required();
  app.add_option("--command", options.command, "the peer's program")->required();
  app.add_option("--threads", options.n_threads, "of either")->capture_default_str();
  app.add_option("--rounds", options.n_rounds, "rounds that count")->capture_default_str();
  app.add_option("--steps", options.n_steps, "decoding steps of a run")->capture_default_str();
  app.add_option("--sequences", options.sequences, "side by side while decoding")->capture_default_str();
  app.add_option("--forms", options.forms, "of this engine: float32, bfloat16, int8")->capture_default_str();
  app.add_option("--json", options.json_path, "where the numbers go")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  return concertina::bench::run(options);
}
