#pragma once

#include <cstdint>
#include <vector>

#include "grammar/automaton.h"

namespace concertina::grammar {

using StackIndex = std::uint32_t;
inline constexpr StackIndex kEmptyStack = 0;    // below: the end of the text
inline constexpr StackIndex kUnknownStack = 1;  // below: a caller of whom nothing is asked
inline constexpr StackIndex kAnyStack = 2;      // below: each caller that the grammar has

// Stacks of states to come back to, which share what they have in common: equal ones have one index.
class StackPool {
 public:
  struct Frame {
    StackIndex below = 0;
    StateIndex to = 0;
  };

  StackPool();
  StackIndex push(StackIndex below, StateIndex to);
  const Frame& top(StackIndex stack) const { return frames_[stack]; }
  static bool is_bottom(StackIndex stack) { return stack <= kAnyStack; }
  std::size_t size() const { return frames_.size(); }

  // Keeps what `roots` need, which get their new indices.
  void keep_only(const std::vector<StackIndex*>& roots);

 private:
  std::size_t place_of(StackIndex below, StateIndex to) const;
  void index_all(std::size_t n_places);

  std::vector<Frame> frames_;         // a frame stands behind the one below it
  std::vector<StackIndex> by_frame_;  // hash table, a power of two; 0: free
};

}  // namespace concertina::grammar
