// Tokens per second of the engine alone, beside what the machine's memory and multipliers allow.
// `./dev bench engine`.
#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "base/check.h"
#include "bench/engine.h"
#include "bench/summary.h"

namespace concertina::bench {
namespace {
int run(int argc, char** argv) {
  CLI::App app("Tokens per second of the engine alone");
  EngineOptions options;
  std::size_t n_runs = 3, n_steps = 16;
  std::string binary;
  app.add_option("--binary", binary);
  app.add_option("--model", options.model_path)->required();
  app.add_option("--ranks", options.n_ranks);
  app.add_option("--threads", options.n_threads);
  app.add_option("--runs", n_runs);
  app.add_option("--steps", n_steps);
  CLI11_PARSE(app, argc, argv);
  auto engine = Engine::create(options);
  CHECK(engine.has_value(), "{}", engine.error().message());
  (*engine)->decode_s(1, 2, 2, 99);
  for (const std::size_t n : {1, 8, 32}) {
    Summary summary;
    for (std::size_t i = 0; i < n_runs; ++i)
      summary.values.push_back(static_cast<double>(n * n_steps) / (*engine)->decode_s(n, 8, n_steps, i));
    summary.line(fmt::format("decode, {} sequences", n), "", true);
  }
  Summary summary;
  for (std::size_t i = 0; i < n_runs; ++i)
    summary.values.push_back(512.0 * options.n_ranks / (*engine)->prefill_s(512, i));
  summary.line("prefill of 512", "", true);
  return 0;
}
}  // namespace
}  // namespace concertina::bench

int main(int argc, char** argv) { return concertina::bench::run(argc, argv); }
