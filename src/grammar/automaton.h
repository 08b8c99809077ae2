#pragma once

#include <bitset>
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "grammar/error.h"
#include "grammar/rule_set.h"

namespace concertina::grammar {

using StateIndex = std::uint32_t;
inline constexpr StateIndex kNoState = 0xFFFFFFFF;
using ByteBits = std::bitset<256>;

// A grammar as it is run: each rule is a deterministic automaton whose edges are bytes and calls of rules
// (a recursive transition network: Woods 1970). What a text can be read as is a set of stacks of states.
// From every state its rule's end can be reached, so that no text that was accepted leads nowhere.
class Automaton {
 public:
  struct Edge {
    std::uint8_t first = 0, last = 0;
    StateIndex to = 0;
  };
  struct Call {
    StateIndex start = 0;  // of the called rule
    StateIndex to = 0;     // where to go on after it
  };

  // kInvalid: a rule calls itself before any byte, or the root matches no text. kTooLarge.
  static Result<Automaton> make(const RuleSet& rules);

  StateIndex start() const { return starts_[0]; }
  std::size_t n_states() const { return is_final_.size(); }
  RuleIndex rule_of(StateIndex state) const { return rule_of_[state]; }
  std::span<const Edge> edges(StateIndex state) const { return slice(edges_, edge_begin_, state); }  // sorted
  std::span<const Call> calls(StateIndex state) const { return slice(calls_, call_begin_, state); }
  bool is_final(StateIndex state) const { return is_final_[state]; }
  // Nothing follows in its rule: a call that goes on here need not come back.
  bool is_only_final(StateIndex state) const {
    return is_final(state) && edges(state).empty() && calls(state).empty();
  }
  StateIndex next(StateIndex state, std::uint8_t byte) const;  // kNoState: none
  std::size_t bytes() const {                                  // nearly
    return edges_.size() * sizeof(Edge) + calls_.size() * sizeof(Call) + n_states() * 16 +
           follow_.size() * sizeof(ByteBits);
  }
  // What may come after the rule of a state has ended, whoever called it.
  const ByteBits& follow(StateIndex state) const { return follow_[rule_of_[state]]; }
  // Where those who call its rule go on.
  std::span<const StateIndex> returns(StateIndex state) const { return returns_[rule_of_[state]]; }

 private:
  friend class Determinizer;
  class FirstCalls;
  template <typename T>
  static std::span<const T> slice(const std::vector<T>& all, const std::vector<std::uint32_t>& begin,
                                  StateIndex i) {
    return std::span(all).subspan(begin[i], begin[i + 1] - begin[i]);
  }
  Status refuse_left_recursion(const RuleSet& rules) const;
  void find_follow();
  void find_returns();

  std::vector<StateIndex> starts_;  // of each rule
  std::vector<Edge> edges_;
  std::vector<Call> calls_;
  std::vector<std::uint32_t> edge_begin_{0}, call_begin_{0};  // [n_states + 1]
  std::vector<bool> is_final_;
  std::vector<RuleIndex> rule_of_;
  std::vector<ByteBits> follow_;                  // of each rule
  std::vector<std::vector<StateIndex>> returns_;  // of each rule; each once
};

}  // namespace concertina::grammar
