#include "sim/planning.h"

#include <fmt/format.h>

#include <chrono>

#include "cluster/placement.h"

namespace concertina::sim {

namespace {

using cluster::Member;
using cluster::Placement;

std::vector<Member> members(std::size_t n) {
  std::vector<Member> all;
  for (std::uint32_t i = 0; i < n; ++i) all.push_back({RankId(i), Incarnation(i + 1)});
  return all;
}

std::size_t n_replicas(const Placement& placement) {
  std::size_t n = 0;
  for (const auto& layer : placement.layers) {
    for (const auto& [rank, experts] : layer) n += experts.size();
  }
  return n;
}

}  // namespace

std::string answer(const PlanningQuestion& question) {
  const cluster::PlacementShape shape{question.n_layers, question.n_experts};
  const auto before = members(question.n_ranks);
  const Placement placement = cluster::plan_placement({}, {}, before, shape);
  std::string out = fmt::format("{} ranks, {} MoE layers of {} experts of {:.1f} MB: {} slots\n",
                                question.n_ranks, question.n_layers, question.n_experts,
                                static_cast<double>(question.expert_bytes) / 1e6, n_replicas(placement));
  out += fmt::format("{:24}{:>12}{:>14}{:>12}{:>16}\n", "change", "plan ms", "slots moved", "of all %",
                     "GB moved");
  for (const std::size_t size : {question.n_ranks + 1, question.n_ranks - 1, 2 * question.n_ranks}) {
    if (size == 0) continue;
    const auto after = members(size);
    const auto start = std::chrono::steady_clock::now();
    const Placement next = cluster::plan_placement(placement, before, after, shape);
    const double ms =
        std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
    const std::size_t moved = cluster::n_moved_slots(placement, next);
    out += fmt::format("{:24}{:>12.1f}{:>14}{:>12.2f}{:>16.1f}\n",
                       fmt::format("{} -> {}", question.n_ranks, size), ms, moved,
                       100.0 * static_cast<double>(moved) / static_cast<double>(n_replicas(next)),
                       static_cast<double>(moved * question.expert_bytes) / 1e9);
  }
  return out;
}

}  // namespace concertina::sim
