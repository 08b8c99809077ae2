#pragma once

#include <cstdint>
#include <vector>

#include "base/reserved_array.h"
#include "exchange/protocol/layout.h"

namespace concertina::exchange {

// What one exchange needs besides the region, taken once.
struct Scratch {
  // Of this rank's own entries, index t * top_k + j.
  ReservedArray<std::uint32_t> entry_member;    // [max_entries]
  ReservedArray<std::uint32_t> entry_position;  // [max_entries] among that member's entries
  ReservedArray<const float*> result_rows;      // [max_entries] each to [hidden_size]
  // Of what this rank computes: members' entries one after the other.
  ReservedArray<Entry> received;          // [max_results] `expert` replaced by its slot
  ReservedArray<const float*> in;         // [max_results] grouped by slot
  ReservedArray<float*> out;              // [max_results] grouped by slot
  std::vector<std::uint32_t> slot_begin;  // [n_experts + 2]
  // Of each member.
  std::vector<std::uint32_t> n_sent, next_sent;  // [max_ranks] own entries for each member
  std::vector<const float*> first_result;        // [max_ranks] of the rows for this rank

  static Result<Scratch> make(const Layout& layout, std::size_t n_experts);
};

}  // namespace concertina::exchange
