#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "exchange/protocol/header.h"
#include "exchange/protocol/layout.h"
#include "kernels/experts.h"
#include "transport/shm/mapping.h"

namespace concertina::exchange {

// An array sized for the worst case whose untouched pages cost nothing.
template <typename T>
class ReservedArray {
 public:
  static Result<ReservedArray> make(std::size_t n, const char* what) {
    ASSIGN_OR_RETURN(transport::Mapping memory,
                     transport::Mapping::reserve((n > 0 ? n : 1) * sizeof(T), what));
    return ReservedArray(std::move(memory), n);
  }
  ReservedArray() = default;

  T& operator[](std::size_t i) { return data()[i]; }
  std::span<T> first(std::size_t n) { return {data(), n}; }
  std::size_t size() const { return n_; }

 private:
  ReservedArray(transport::Mapping memory, std::size_t n) : memory_(std::move(memory)), n_(n) {}
  T* data() { return reinterpret_cast<T*>(memory_.data()); }
  transport::Mapping memory_;
  std::size_t n_ = 0;
};

// What one exchange needs besides the region, taken once.
struct Scratch {
  // Of this rank's own entries, index t * top_k + j.
  ReservedArray<std::uint32_t> entry_member;    // [max_entries]
  ReservedArray<std::uint32_t> entry_position;  // [max_entries] among that member's entries
  ReservedArray<const float*> result_rows;      // [max_entries] each to [hidden_size]
  // Of what this rank computes: members' entries one after the other.
  ReservedArray<Entry> received;   // [max_results] `expert` replaced by its slot
  ReservedArray<const float*> in;  // [max_results] grouped by slot
  ReservedArray<float*> out;       // [max_results] grouped by slot
  ReservedArray<float> hidden;     // [max_results, intermediate_size]
  ReservedArray<std::uint8_t>
      narrowed_rows;                        // [max_results, hidden_size or intermediate_size, kNarrowedBytes]
  ReservedArray<float> row_scales;          // [max_results]
  std::vector<kernels::ExpertRows> groups;  // [<= n_experts]
  std::vector<std::uint32_t> slot_end;      // [n_experts + 1]
  // Of each member.
  std::vector<Header> dispatch, result;          // [max_ranks] as awaited; this rank's own among them
  std::vector<std::uint8_t> has_arrived;         // [max_ranks]
  std::vector<std::uint8_t> was_older;           // [max_ranks]
  std::vector<std::uint32_t> n_sent, next_sent;  // [max_ranks] own entries for each member
  std::vector<Epoch> flags;                      // [max_ranks]
  std::vector<scheduler::StepLoad> loads;        // [members] of the last step that had its first headers

  static Result<Scratch> make(const Layout& layout, std::size_t intermediate_size, std::size_t n_experts);
};

}  // namespace concertina::exchange
