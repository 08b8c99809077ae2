#include "grammar/automaton.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <unordered_set>

#include "grammar/determinizer.h"

namespace concertina::grammar {

Result<Automaton> Automaton::make(const RuleSet& rules) {
  ASSIGN_OR_RETURN(Automaton automaton, Determinizer(rules).run());
  RETURN_IF_ERROR(automaton.refuse_left_recursion(rules));
  automaton.find_follow();
  automaton.find_returns();
  return automaton;
}

StateIndex Automaton::next(StateIndex state, std::uint8_t byte) const {
  const auto all = edges(state);
  if (all.size() > 8) {
    const auto edge = std::lower_bound(all.begin(), all.end(), byte,
                                       [](const Edge& e, std::uint8_t b) { return e.last < b; });
    return edge != all.end() && edge->first <= byte ? edge->to : kNoState;
  }
  for (const Edge& edge : all)
    if (edge.first <= byte && byte <= edge.last) return edge.to;
  return kNoState;
}

namespace {

// Of each state: can its rule end here without a byte? A state that can is looked at once more, by the calls
// that it is the start or the return of: in rounds over all states, rules that call each other in a chain
// took time that grows as its square (0.8 s for 220 KB of EBNF).
std::vector<bool> ends_here(const Automaton& automaton) {
  const auto n_states = static_cast<StateIndex>(automaton.n_states());
  std::vector<bool> ends(n_states);
  struct Half {  // of a call: it is passed without a byte once the other half is, too
    StateIndex caller, other;
  };
  std::vector<std::vector<Half>> halves(n_states);  // by start and by return
  std::vector<StateIndex> work;
  for (StateIndex state = 0; state < n_states; ++state) {
    if (automaton.is_final(state)) work.push_back(state);
    for (const auto& call : automaton.calls(state)) {
      halves[call.start].push_back({state, call.to});
      halves[call.to].push_back({state, call.start});
    }
  }
  while (!work.empty()) {
    const StateIndex state = work.back();
    work.pop_back();
    if (ends[state]) continue;
    ends[state] = true;
    for (const auto& [caller, other] : halves[state])
      if (ends[other]) work.push_back(caller);
  }
  return ends;
}

}  // namespace

// Depth first over the rules that a rule may call before any byte; a way back is left recursion.
class Automaton::FirstCalls {
 public:
  explicit FirstCalls(const Automaton& automaton)
      : automaton_(automaton), ends_(ends_here(automaton)), seen_(automaton.starts_.size(), Seen::kNo) {}

  // A rule that reaches itself, if there is one.
  std::optional<RuleIndex> circle() {
    for (RuleIndex rule = 0; rule < seen_.size(); ++rule) {
      if (seen_[rule] == Seen::kNo) open(rule);
      while (!path_.empty()) {
        if (path_.back().first.empty()) {
          seen_[path_.back().rule] = Seen::kDone;
          path_.pop_back();
          continue;
        }
        const RuleIndex called = path_.back().first.back();
        path_.back().first.pop_back();
        if (seen_[called] == Seen::kOpen) return called;
        if (seen_[called] == Seen::kNo) open(called);
      }
    }
    return std::nullopt;
  }

 private:
  enum class Seen : std::uint8_t { kNo, kOpen, kDone };
  struct Visit {
    RuleIndex rule;
    std::vector<RuleIndex> first;  // rules that it may call first
  };

  void open(RuleIndex rule) {
    seen_[rule] = Seen::kOpen;
    Visit visit{rule, {}};
    std::vector<StateIndex> work = {automaton_.starts_[rule]};
    std::unordered_set<StateIndex> reached = {work[0]};
    while (!work.empty()) {
      const StateIndex state = work.back();
      work.pop_back();
      for (const auto& call : automaton_.calls(state)) {
        visit.first.push_back(automaton_.rule_of(call.start));
        if (ends_[call.start] && reached.insert(call.to).second) work.push_back(call.to);
      }
    }
    path_.push_back(std::move(visit));
  }

  const Automaton& automaton_;
  std::vector<bool> ends_;
  std::vector<Seen> seen_;
  std::vector<Visit> path_;
};

Status Automaton::refuse_left_recursion(const RuleSet& rules) const {
  const auto rule = FirstCalls(*this).circle();
  if (!rule) return {};
  return fail(
      GrammarError::kInvalid,
      fmt::format("{}: the rule calls itself before any byte (left recursion)", rules.rules()[*rule].name));
}

void Automaton::find_returns() {
  returns_.assign(starts_.size(), {});
  for (StateIndex state = 0; state < n_states(); ++state)
    for (const auto& call : calls(state)) returns_[rule_of(call.start)].push_back(call.to);
  for (auto& states : returns_) {
    std::sort(states.begin(), states.end());
    states.erase(std::unique(states.begin(), states.end()), states.end());
  }
}

// The least sets such that after a call comes what its return state begins with and, if the caller can end
// there, what comes after the caller.
void Automaton::find_follow() {
  const auto ends = ends_here(*this);
  std::vector<ByteBits> first(n_states());
  for (StateIndex state = 0; state < first.size(); ++state)
    for (const auto& edge : edges(state))
      for (std::size_t byte = edge.first; byte <= edge.last; ++byte) first[state].set(byte);
  for (bool changed = true; changed;) {
    changed = false;
    for (StateIndex state = static_cast<StateIndex>(first.size()); state-- > 0;)
      for (const auto& call : calls(state)) {
        const ByteBits more =
            first[state] | first[call.start] | (ends[call.start] ? first[call.to] : ByteBits());
        changed |= more != first[state];
        first[state] = more;
      }
  }
  follow_.assign(starts_.size(), {});
  for (bool changed = true; changed;) {
    changed = false;
    for (StateIndex state = 0; state < first.size(); ++state)
      for (const auto& call : calls(state)) {
        auto& follow = follow_[rule_of(call.start)];
        const ByteBits more =
            follow | first[call.to] | (ends[call.to] ? follow_[rule_of(state)] : ByteBits());
        changed |= more != follow;
        follow = more;
      }
  }
}

}  // namespace concertina::grammar
