// How long a change of a large group takes to plan, and what it moves: of DeepSeek-V3's 61 layers of 256
// experts, 44 MB each in fp8.
#include <benchmark/benchmark.h>

#include "cluster/placement.h"

namespace concertina::cluster {
namespace {

constexpr PlacementShape kShape{.n_moe_layers = 61, .n_experts = 256};
constexpr double kExpertBytes = 44040192;

std::vector<Member> members(std::int64_t n) {
  std::vector<Member> all;
  for (std::uint32_t i = 0; i < n; ++i) all.push_back({RankId(i), Incarnation(i + 1)});
  return all;
}

// Arguments: ranks before and after.
void plan(benchmark::State& state) {
  const auto before = members(state.range(0)), after = members(state.range(1));
  const Placement placement = plan_placement({}, {}, before, kShape);
  Placement next;
  for (auto _ : state) next = plan_placement(placement, before, after, kShape);
  const auto n_moved = static_cast<double>(n_moved_slots(placement, next));
  state.counters["moved_percent"] =
      100 * n_moved / static_cast<double>(kShape.n_moe_layers * kShape.n_experts);
  state.counters["moved_gb"] = n_moved * kExpertBytes / 1e9;
}
BENCHMARK(plan)
    ->Unit(benchmark::kMillisecond)
    ->Args({64, 65})
    ->Args({64, 63})
    ->Args({64, 128})
    ->Args({10000, 10001})
    ->Args({10000, 9999})
    ->Args({10000, 20000});

}  // namespace
}  // namespace concertina::cluster
