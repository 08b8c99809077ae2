#pragma once

#include <cstdint>
#include <string>

namespace concertina::sim {

struct PlanningQuestion {
  std::size_t n_ranks = 0, n_layers = 0, n_experts = 0;
  std::uint64_t expert_bytes = 0;
};

// Time to plan, and slots and bytes moved, for one rank more, one less, and for doubling. A table.
std::string answer(const PlanningQuestion& question);

}  // namespace concertina::sim
