#include "grammar/determinizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "grammar/limits.h"

namespace concertina::grammar {

// Nodes reached without a byte; those that only skip are left out.
void Determinizer::close(Set& set) {
  ++closure_;
  Set work = std::move(set), kept;
  while (!work.empty()) {
    const NodeIndex index = work.back();
    work.pop_back();
    ++work_;
    if (std::exchange(seen_[index], closure_) == closure_) continue;
    const auto& node = rules_.nodes()[index];
    const bool may_be_end = node.bytes.empty() && node.calls.empty() && node.skips.empty();
    if (may_be_end || !node.bytes.empty() || !node.calls.empty()) kept.push_back(index);
    work.insert(work.end(), node.skips.begin(), node.skips.end());
  }
  std::sort(kept.begin(), kept.end());
  set = std::move(kept);
}

StateIndex Determinizer::state_of(Set set, RuleIndex rule) {
  close(set);
  const auto [known, is_new] = known_.try_emplace(std::move(set), static_cast<StateIndex>(states_.size()));
  if (!is_new) return known->second;
  const NodeIndex end = rules_.rules()[rule].end;
  states_.push_back(
      {.is_final = std::binary_search(known->first.begin(), known->first.end(), end), .rule = rule});
  sets_.push_back(&known->first);
  return known->second;
}

tl::unexpected<Error> Determinizer::too_large(RuleIndex rule, std::string_view what) const {
  return fail(GrammarError::kTooLarge,
              fmt::format("{}: the grammar has {}", rules_.rules()[rule].name, what));
}

Status Determinizer::make_rule(RuleIndex rule) {
  known_.clear();
  sets_.clear();
  const auto first = static_cast<StateIndex>(states_.size());
  starts_.push_back(state_of({rules_.rules()[rule].start}, rule));
  for (StateIndex state = first; state < states_.size(); ++state) {
    if (states_.size() > kMaxStates) return too_large(rule, fmt::format("more than {} states", kMaxStates));
    if (work_ > kMaxSetWork)
      return too_large(rule, fmt::format("more than {} nodes in its states' sets", kMaxSetWork));
    const Set& set = *sets_[state - first];
    add_edges(state, set);
    add_calls(state, set);
  }
  return {};
}

void Determinizer::add_edges(StateIndex state, const Set& set) {
  std::vector<RuleSet::ByteEdge> all;
  for (const NodeIndex node : set)
    all.insert(all.end(), rules_.nodes()[node].bytes.begin(), rules_.nodes()[node].bytes.end());
  std::array<bool, 257> cut{};
  for (const auto& edge : all) cut[edge.first] = cut[edge.last + 1] = true;
  for (std::size_t begin = 0, end; begin < 256; begin = end) {
    for (end = begin + 1; end < 256 && !cut[end];) ++end;
    work_ += all.size() / 8;  // a look at an edge costs that much less than one at a node
    Set targets;
    for (const auto& edge : all)
      if (edge.first <= begin && begin <= edge.last) targets.push_back(edge.to);
    if (targets.empty()) continue;
    const StateIndex to = state_of(std::move(targets), states_[state].rule);
    auto& edges = states_[state].edges;
    if (!edges.empty() && edges.back().to == to && edges.back().last + 1u == begin)
      edges.back().last = static_cast<std::uint8_t>(end - 1);
    else
      edges.push_back({static_cast<std::uint8_t>(begin), static_cast<std::uint8_t>(end - 1), to});
  }
}

void Determinizer::add_calls(StateIndex state, const Set& set) {
  std::map<RuleIndex, Set> targets;
  for (const NodeIndex node : set)
    for (const auto& call : rules_.nodes()[node].calls) targets[call.rule].push_back(call.to);
  for (auto& [rule, nodes] : targets) {
    const StateIndex to = state_of(std::move(nodes), states_[state].rule);
    states_[state].calls.push_back({rule, to});
  }
}

// Backwards from the final states; a call counts once its rule's start is useful.
void Determinizer::mark_useful() {
  std::vector<std::vector<StateIndex>> before(states_.size());  // by bytes
  std::vector<std::vector<std::pair<StateIndex, RuleIndex>>> calls_to(states_.size());
  std::vector<std::vector<std::pair<StateIndex, StateIndex>>> calls_of(starts_.size());
  for (StateIndex state = 0; state < states_.size(); ++state) {
    for (const auto& edge : states_[state].edges) before[edge.to].push_back(state);
    for (const auto& call : states_[state].calls) {
      calls_to[call.to].emplace_back(state, call.rule);
      calls_of[call.rule].emplace_back(state, call.to);
    }
  }
  useful_.assign(states_.size(), false);
  std::vector<StateIndex> work;
  const auto mark = [&](StateIndex state) {
    if (!useful_[state]) work.push_back(state);
    useful_[state] = true;
  };
  for (StateIndex state = 0; state < states_.size(); ++state)
    if (states_[state].is_final) mark(state);
  while (!work.empty()) {
    const StateIndex state = work.back();
    work.pop_back();
    for (const StateIndex from : before[state]) mark(from);
    for (const auto& [from, rule] : calls_to[state])
      if (useful_[starts_[rule]]) mark(from);
    if (state != starts_[states_[state].rule]) continue;
    for (const auto& [from, to] : calls_of[states_[state].rule])
      if (useful_[to]) mark(from);
  }
}

Automaton Determinizer::pack() const {
  Automaton automaton;
  automaton.starts_ = starts_;
  for (const State& state : states_) {
    for (const auto& edge : state.edges)
      if (useful_[edge.to]) automaton.edges_.push_back(edge);
    for (const auto& call : state.calls)
      if (useful_[call.to] && useful_[starts_[call.rule]])
        automaton.calls_.push_back({starts_[call.rule], call.to});
    automaton.edge_begin_.push_back(static_cast<std::uint32_t>(automaton.edges_.size()));
    automaton.call_begin_.push_back(static_cast<std::uint32_t>(automaton.calls_.size()));
    automaton.is_final_.push_back(state.is_final);
    automaton.rule_of_.push_back(state.rule);
  }
  return automaton;
}

Result<Automaton> Determinizer::run() {
  if (rules_.is_full())
    return fail(GrammarError::kTooLarge,
                fmt::format("the grammar has more than {} nodes, {} edges or {} rules", kMaxNodes, kMaxEdges,
                            kMaxRules));
  seen_.assign(rules_.nodes().size(), 0);
  for (RuleIndex rule = 0; rule < rules_.rules().size(); ++rule) RETURN_IF_ERROR(make_rule(rule));
  mark_useful();
  if (!useful_[starts_[0]]) return fail(GrammarError::kInvalid, "there is no text that the grammar matches");
  return pack();
}

}  // namespace concertina::grammar
