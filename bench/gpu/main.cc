// A rank's forward pass on one GPU beside what its memory and multipliers allow: whole steps of the engine,
// and each kernel. On the GPU machine; bench/gpu/run.sh calls it.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <set>

#include "base/check.h"
#include "base/random.h"
#include "bench/gpu/ops.h"
#include "model/cuda/cuda_pass.h"

namespace concertina::bench::gpu {
namespace {

struct Options {
  std::vector<std::string> what{"ops", "engine"};
  std::vector<std::size_t> layers{12};
  std::vector<std::size_t> batches{1, 8, 32, 128, 256};
  bool prefill = true, long_context = true;
  float router_skew = 0.3f;
  double matrix_tflop_s = 0;
  std::string commit = "unknown", out = "bench_gpu.json";
};

constexpr std::size_t kContext = 512, kLongContext = 4096, kPrompts = 4, kPrompt = 2048, kBlockSize = 64;

std::vector<Load> loads_of(const Options& options) {
  std::vector<Load> loads;
  for (const std::size_t n : options.batches) loads.push_back({n, 1, kContext});
  if (options.long_context) loads.push_back({32, 1, kLongContext});
  if (options.prefill) loads.push_back({kPrompts, kPrompt, kPrompt});
  return loads;
}

class Engine {
 public:
  Engine(std::size_t n_layers, float router_skew) : config_(qwen3_30b(n_layers)) {
    auto pass = model::cuda::CudaPass::create_random(
        config_,
        {.limits = {.max_tokens = kPrompts * kPrompt, .max_sequences = 256, .max_model_len = kLongContext},
         .block_size = kBlockSize,
         .memory_utilization = 0.95,
         .kv_bytes = std::uint64_t{256} * kContext * n_layers * 2048},
        {.router_skew = router_skew});
    CHECK(pass.has_value(), "{}", pass.error().message());
    pass_ = std::move(*pass);
    CHECK(pass_->poison_kv(0x3c).has_value());
  }

  void measure(const Load& load, Report& report) {
    const double first_us = step_us(load);
    std::vector<double> all;
    for (int i = 0; i < std::clamp(static_cast<int>(3e5 / first_us), 3, 30); ++i)
      all.push_back(step_us(load));
    std::sort(all.begin(), all.end());
    const double us = all[all.size() / 2];
    const auto chosen = pass_->last_experts(config_.layers.size() - 1).value();
    const auto n_distinct = static_cast<double>(std::set(chosen.begin(), chosen.end()).size());
    report.add(load.name(), fmt::format("engine, {} layers", config_.layers.size()), us,
               step_work(config_, load, n_distinct),
               {{"distinct_experts", n_distinct},
                {"tokens_s", static_cast<double>(load.n_rows()) * 1e6 / us},
                {"lowest_us", all.front()},
                {"highest_us", all.back()}});
  }

 private:
  // One step as the worker runs it: from the batch to its tokens on the host.
  double step_us(const Load& load) {
    const std::size_t n_blocks = (load.n_seen + kBlockSize - 1) / kBlockSize;
    std::vector<TokenId> tokens(load.n_rows());
    for (TokenId& token : tokens) token = static_cast<TokenId>(random_.below(config_.vocab_size));
    std::vector<BlockId> blocks;
    for (std::size_t b = 0; b < n_blocks * load.n_sequences; ++b)
      blocks.push_back(BlockId(static_cast<std::uint32_t>(b * 7919 % pass_->n_blocks())));
    std::vector<model::SequenceSlice> batch;
    for (std::size_t s = 0; s < load.n_sequences; ++s)
      batch.push_back({std::span(tokens).subspan(s * load.n_new, load.n_new), load.n_seen - load.n_new,
                       std::span(blocks).subspan(s * n_blocks, n_blocks), &greedy_});
    const auto begin = std::chrono::steady_clock::now();
    const auto output = pass_->run(batch);
    CHECK(output.has_value(), "{}", output.error().message());
    return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin).count();
  }

  const model::ModelConfig config_;
  std::unique_ptr<model::cuda::CudaPass> pass_;
  const request::Request greedy_{.sampling = {.temperature = 0}};
  Random random_{3};
};

void run(const Options& options) {
  auto device = device::cuda::Device::open(0);
  CHECK(device.has_value(), "{}", device.error().message());
  auto queue = device::cuda::Queue::create(*device).value();
  CardRates rates = measure_copy(*device, queue);
  rates.matrix_tflop_s = options.matrix_tflop_s;
  Report report(options.out, options.commit, device->properties().name, rates);
  const auto wants = [&](const char* what) {
    return std::find(options.what.begin(), options.what.end(), what) != options.what.end();
  };
  for (const std::size_t n_layers : options.layers) {
    if (wants("ops")) {
      auto ops = Ops::create({.n_layers = n_layers, .router_skew = options.router_skew});
      CHECK(ops.has_value(), "{}", ops.error().message());
      for (const Load& load : loads_of(options)) (*ops)->measure(load, report);
    }
    if (wants("engine")) {
      Engine engine(n_layers, options.router_skew);
      for (const Load& load : loads_of(options)) engine.measure(load, report);
    }
  }
}

}  // namespace
}  // namespace concertina::bench::gpu

int main(int argc, char** argv) {
  concertina::bench::gpu::Options options;
  CLI::App app("A forward pass on one GPU beside its floors");
  app.add_option("--what", options.what, "ops: each kernel and all in one graph; engine: whole steps")
      ->delimiter(',');
  app.add_option("--layers", options.layers, "of Qwen3-30B-A3B's 48")->delimiter(',');
  app.add_option("--batches", options.batches, "sequences that decode")->delimiter(',');
  app.add_option("--prefill", options.prefill, "also 4 prompts of 2048");
  app.add_option("--long-context", options.long_context, "also 32 sequences at 4096");
  app.add_option("--router-skew", options.router_skew, "0: every expert is as likely as another");
  app.add_option("--matrix-rate", options.matrix_tflop_s,
                 "TFLOP/s of a large BF16 product, measured in this run");
  app.add_option("--commit", options.commit);
  app.add_option("--out", options.out, "the table as JSON");
  CLI11_PARSE(app, argc, argv);
  concertina::bench::gpu::run(options);
  return 0;
}
