// The ops that take the time, each with its share of what one core gives: of the read bandwidth where few
// rows share the weights, else of the multiply-adds. Weights are cycled through, so that they come from
// memory.
#include <benchmark/benchmark.h>

#include <algorithm>

#include "base/random.h"
#include "bench/rates.h"
#include "kernels/experts.h"
#include "kernels/linear.h"
#include "kernels/paged_attention.h"

namespace concertina::kernels {
namespace {

constexpr std::size_t kColdBytes = std::size_t{256} << 20;  // more than the caches hold

const bench::MachineRates& rates() {
  static const bench::MachineRates rates = bench::measure_rates(1);
  return rates;
}

// Aligned as the engine's buffers are: a vector that lies across two cache lines takes two reads.
tensor::FloatBuffer filled(std::size_t n, float value) {
  tensor::FloatBuffer buffer(n);
  std::fill_n(buffer.data(), n, value);
  return buffer;
}
std::span<float> all(tensor::FloatBuffer& buffer) { return {buffer.data(), buffer.size()}; }
std::span<const float> all(const tensor::FloatBuffer& buffer) { return {buffer.data(), buffer.size()}; }

tensor::Weight make_weight(Random& random, std::int64_t n_out, std::int64_t n_in, tensor::DType dtype) {
  const auto n = static_cast<std::size_t>(n_out * n_in);
  auto values = std::make_shared<std::vector<std::uint16_t>>(n);
  for (std::uint16_t& value : *values)
    value = static_cast<std::uint16_t>(0x3c00 | random.below(1024));  // about 0.01 .. 0.06 as BF16
  tensor::Weight weight{tensor::DType::kBF16, {n_out, n_in}, values->data(), values};
  return dtype == tensor::DType::kI8 ? quantize_int8(weight) : weight;
}

void report(benchmark::State& state, double operations, double bytes, tensor::DType dtype) {
  const double rate = dtype == tensor::DType::kI8 ? rates().vnni_gop_s : rates().fma_gflop_s;
  const double least_s = std::max(operations / (rate * 1e9), bytes / (rates().read_gb_s * 1e9));
  using benchmark::Counter;
  state.counters["GOP/s"] = Counter(1e-9 * operations, Counter::kIsIterationInvariantRate);
  state.counters["GB/s"] = Counter(1e-9 * bytes, Counter::kIsIterationInvariantRate);
  state.counters["limit_share"] = Counter(least_s, Counter::kIsIterationInvariantRate);
}

void bench_linear(benchmark::State& state, tensor::DType dtype) {
  const auto n_rows = static_cast<std::size_t>(state.range(0));
  const std::int64_t n_out = state.range(1), n_in = state.range(2);
  Random random(1);
  std::vector<tensor::Weight> weights;
  for (std::size_t bytes = 0; bytes < kColdBytes; bytes += weights.back().bytes())
    weights.push_back(make_weight(random, n_out, n_in, dtype));
  const auto x = filled(n_rows * static_cast<std::size_t>(n_in), 0.5f);
  tensor::FloatBuffer y(n_rows * static_cast<std::size_t>(n_out));
  RowBuffer narrowed(n_rows, static_cast<std::size_t>(n_in), ActivationType::kFloat32);
  device::Stream on(1);
  std::size_t next = 0;
  for (auto unused : state)
    linear(all(x), weights[next++ % weights.size()], all(y), n_rows, on, narrowed.room());
  report(state, 2.0 * static_cast<double>(n_rows) * static_cast<double>(n_out * n_in),
         static_cast<double>(weights[0].bytes()), dtype);
}

void bench_experts(benchmark::State& state, tensor::DType dtype) {
  const auto n_rows = static_cast<std::size_t>(state.range(0));  // of each expert
  constexpr std::int64_t kHidden = 1024, kInner = 512;
  Random random(1);
  std::vector<ExpertWeights> experts;
  for (std::size_t bytes = 0; bytes < kColdBytes; bytes += 3 * experts.back().gate.bytes()) {
    experts.push_back({make_weight(random, kInner, kHidden, dtype),
                       make_weight(random, kInner, kHidden, dtype),
                       make_weight(random, kHidden, kInner, dtype)});
  }
  auto x = filled(n_rows * kHidden, 0.5f);
  tensor::FloatBuffer y(n_rows * kHidden), scratch(n_rows * kInner);
  std::vector<const float*> in;
  std::vector<float*> out;
  for (std::size_t m = 0; m < n_rows; ++m) {
    in.push_back(x.data() + m * kHidden);
    out.push_back(y.data() + m * kHidden);
  }
  RowBuffer narrowed(n_rows, kHidden, ActivationType::kFloat32);
  device::Stream on(1);
  std::size_t next = 0;
  for (auto unused : state) {
    const ExpertRows group{&experts[next++ % experts.size()], in, out};
    expert_mlp({&group, 1}, all(scratch), on, narrowed.room());
  }
  const double parameters = 3.0 * kHidden * kInner;
  report(state, 2.0 * static_cast<double>(n_rows) * parameters,
         3.0 * static_cast<double>(experts[0].gate.bytes()), dtype);
}

// n_rows new tokens of one sequence that has n_before: 16 heads of 128 over 4 KV heads.
void bench_attention(benchmark::State& state) {
  const auto n_rows = static_cast<std::size_t>(state.range(0)),
             n_before = static_cast<std::size_t>(state.range(1));
  constexpr std::size_t kHeads = 16, kKvHeads = 4, kHeadDim = 128, kBlockSize = 16;
  const std::size_t n_positions = n_before + n_rows, n_blocks = (n_positions + kBlockSize - 1) / kBlockSize;
  const std::size_t kv_floats = paged_kv_floats(n_blocks, kBlockSize, kKvHeads, kHeadDim);
  const std::size_t n_sequences = kColdBytes / (kv_floats * sizeof(float)) + 1;
  auto memory = filled(n_sequences * kv_floats, 0.25f);
  std::vector<BlockId> table;
  for (std::uint32_t b = 0; b < n_blocks; ++b) table.push_back(BlockId(b));
  const AttentionSequence sequence{0, n_rows, n_before, table};
  const auto q = filled(n_rows * kHeads * kHeadDim, 0.5f);
  tensor::FloatBuffer out(q.size()), scratch(attention_scratch_floats(kHeadDim, 1));
  device::Stream on(1);
  std::size_t next = 0;
  for (auto unused : state) {
    const PagedKv kv{memory.data() + next++ % n_sequences * kv_floats, n_blocks, kBlockSize, kKvHeads,
                     kHeadDim};
    paged_attention(all(q), {&sequence, 1}, kv, 0.1f, kHeads, all(scratch), all(out), on);
  }
  const double seen =
      static_cast<double>(n_rows) * (static_cast<double>(n_before) + (static_cast<double>(n_rows) + 1) / 2);
  report(state, 4.0 * seen * kHeads * kHeadDim,
         static_cast<double>(n_positions) * 2 * kKvHeads * kHeadDim * sizeof(float), tensor::DType::kF32);
}

void shapes(benchmark::internal::Benchmark* b) {
  for (const int n_rows : {1, 2, 4, 8, 16, 64, 256}) b->Args({n_rows, 2048, 1024});
}
BENCHMARK_CAPTURE(bench_linear, bf16, tensor::DType::kBF16)->Apply(shapes);
BENCHMARK_CAPTURE(bench_linear, int8, tensor::DType::kI8)->Apply(shapes);
BENCHMARK_CAPTURE(bench_experts, bf16, tensor::DType::kBF16)
    ->Arg(1)
    ->Arg(2)
    ->Arg(4)
    ->Arg(8)
    ->Arg(16)
    ->Arg(64);
BENCHMARK_CAPTURE(bench_experts, int8, tensor::DType::kI8)->Arg(1)->Arg(2)->Arg(4)->Arg(8)->Arg(16)->Arg(64);
BENCHMARK(bench_attention)
    ->Args({1, 256})
    ->Args({1, 4096})
    ->Args({16, 3584})
    ->Args({64, 0})
    ->Args({512, 0})
    ->Args({512, 3584});

}  // namespace
}  // namespace concertina::kernels
