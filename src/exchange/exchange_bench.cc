// Microseconds of one exchange: ranks as threads of one process, each with the same number of tokens. The
// experts are tiny, so that what is measured is the exchange.
#include <benchmark/benchmark.h>

#include <barrier>
#include <thread>

#include "exchange/test_group.h"

namespace concertina::exchange {
namespace {

// Arguments: ranks, tokens of each rank.
void exchange(benchmark::State& state) {
  const auto n_ranks = static_cast<std::uint32_t>(state.range(0));
  const auto n_tokens = static_cast<std::size_t>(state.range(1));
  constexpr std::uint64_t kSteps = 200, kLayers = 6;
  const TestModel model({.n_moe_layers = kLayers,
                         .n_experts = 16,
                         .hidden_size = 256,
                         .intermediate_size = 1,
                         .max_tokens = 512,
                         .max_ranks = 8},
                        1);
  TestGroup group(model, n_ranks);
  Random random(2);
  std::vector<std::uint32_t> ranks(n_ranks);
  std::iota(ranks.begin(), ranks.end(), 0);
  group.enter_all(random_plan(Epoch(1), ranks, model.shape, random));

  std::barrier round(n_ranks);
  std::atomic<bool> goes_on{true};
  std::uint64_t step = 0;
  const auto run = [&](std::uint32_t rank, const TestTokens& tokens, std::span<float> out) {
    for (std::uint64_t i = 0; i < kSteps; ++i) {
      group.rank(rank)->begin_step(group.rank(rank)->next_step(), Epoch{});
      for (std::uint32_t layer = 0; layer < kLayers; ++layer)
        CHECK(group.rank(rank).run_layer(MoeLayerId(layer), tokens, out).has_value());
    }
  };
  std::vector<std::thread> peers;
  for (std::uint32_t rank = 1; rank < n_ranks; ++rank)
    peers.emplace_back([&, rank] {
      Random own(rank);
      const TestTokens tokens(model.shape, n_tokens, own);
      std::vector<float> out(tokens.hidden.size());
      for (round.arrive_and_wait(); goes_on; round.arrive_and_wait()) run(rank, tokens, out);
    });
  const TestTokens tokens(model.shape, n_tokens, random);
  std::vector<float> out(tokens.hidden.size());
  for (auto _ : state) {
    round.arrive_and_wait();
    run(0, tokens, out);
    step += kSteps;
  }
  goes_on = false;
  round.arrive_and_wait();
  for (std::thread& peer : peers) peer.join();
  state.counters["us_per_exchange"] = benchmark::Counter(
      static_cast<double>(step * kLayers) / 1e6, benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}
BENCHMARK(exchange)
    ->ArgNames({"ranks", "tokens"})
    ->ArgsProduct({{1, 2, 4}, {0, 1, 8, 64}})
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace concertina::exchange
