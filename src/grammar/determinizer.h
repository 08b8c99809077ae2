#pragma once

#include <map>
#include <string_view>
#include <vector>

#include "grammar/automaton.h"

namespace concertina::grammar {

// The subset construction (Rabin and Scott 1959), rule by rule, calls being letters like bytes; then what
// leads nowhere is taken out.
class Determinizer {
 public:
  explicit Determinizer(const RuleSet& rules) : rules_(rules) {}
  Result<Automaton> run();

 private:
  using Set = std::vector<NodeIndex>;
  struct Call {
    RuleIndex rule = 0;
    StateIndex to = 0;
  };
  struct State {
    std::vector<Automaton::Edge> edges;
    std::vector<Call> calls;
    bool is_final = false;
    RuleIndex rule = 0;
  };

  void close(Set& set);
  StateIndex state_of(Set set, RuleIndex rule);
  Status make_rule(RuleIndex rule);
  tl::unexpected<Error> too_large(RuleIndex rule, std::string_view what) const;
  void add_edges(StateIndex state, const Set& set);
  void add_calls(StateIndex state, const Set& set);
  void mark_useful();
  Automaton pack() const;

  const RuleSet& rules_;
  std::vector<State> states_;
  std::vector<StateIndex> starts_;
  std::map<Set, StateIndex> known_;  // of the rule under way
  std::vector<const Set*> sets_;     // of the states of the rule under way
  std::size_t work_ = 0;             // up to kMaxSetWork
  std::vector<bool> useful_;         // states from which their rule can end
  std::vector<std::uint32_t> seen_;  // by node: the closure that saw it
  std::uint32_t closure_ = 0;
};

}  // namespace concertina::grammar
