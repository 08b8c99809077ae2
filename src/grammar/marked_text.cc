#include "grammar/marked_text.h"

#include <algorithm>
#include <deque>

#include "base/utf8.h"
#include "grammar/frames.h"

namespace concertina::grammar {

MarkedText::MarkedText(RuleSet& rules, const std::vector<std::string>& ends,
                       const std::vector<std::string>& absent)
    : rules_(rules), ends_(ends) {
  add_state();
  for (const std::string& mark : absent) add(mark, State::Mark::kAbsent);
  for (const std::string& mark : ends_) add(mark, State::Mark::kEnd);
  complete();
}

std::size_t MarkedText::place_of(char32_t character) {
  const std::size_t found = characters_.find(character);
  if (found != characters_.npos) return found;
  characters_ += character;
  return characters_.size() - 1;
}

MarkedText::StateIndex MarkedText::add_state() {
  states_.emplace_back();
  return states_.size() - 1;
}

void MarkedText::add(const std::string& text, State::Mark mark) {
  StateIndex at = 0;
  for (std::string_view rest = text; !rest.empty();) {
    const Utf8Unit unit = next_utf8(rest);
    rest.remove_prefix(unit.length);
    const std::size_t place = place_of(unit.code_point);
    if (states_[at].next.size() <= place) states_[at].next.resize(place + 1, kNone);
    if (states_[at].next[place] == kNone) {
      const StateIndex made = add_state();
      states_[at].next[place] = made;
    }
    at = states_[at].next[place];
  }
  states_[at].mark = mark;
}

// Where a mark does not go on, what its longest end that begins a mark goes on to; the shorter come first.
void MarkedText::complete() {
  std::vector<StateIndex> longest_end(states_.size(), 0);
  std::deque<StateIndex> order{0};
  for (; !order.empty(); order.pop_front()) {
    const StateIndex at = order.front();
    states_[at].next.resize(characters_.size(), kNone);
    for (std::size_t place = 0; place < characters_.size(); ++place) {
      StateIndex& next = states_[at].next[place];
      const StateIndex else_next = at == 0 ? 0 : states_[longest_end[at]].next[place];
      if (next == kNone) {
        next = else_next;
      } else {
        longest_end[next] = else_next;
        states_[next].mark = std::max(states_[next].mark, states_[else_next].mark);
        order.push_back(next);
      }
    }
  }
}

// A state's node: where the text has ended, that is `to`; what has a mark that must not come leads nowhere.
std::vector<NodeIndex> MarkedText::append_nodes(NodeIndex to) {
  std::vector<NodeIndex> nodes;
  for (const State& state : states_)
    nodes.push_back(state.mark == State::Mark::kEnd ? to : rules_.add_node());
  for (StateIndex i = 0; i < states_.size() && !rules_.is_full(); ++i) {
    if (states_[i].mark != State::Mark::kNone) continue;
    CodePoints others = CodePoints::all();
    for (std::size_t place = 0; place < characters_.size(); ++place) {
      const StateIndex next = states_[i].next[place];
      if (next == 0) continue;
      const char32_t character = characters_[place];
      others = others.without(character);
      append_characters(rules_, nodes[i], nodes[next], {{character, character}}, Writing::kPlain);
    }
    append_characters(rules_, nodes[i], nodes[0], others, Writing::kPlain);
  }
  return nodes;
}

void MarkedText::append(NodeIndex from, NodeIndex to) {
  const NodeIndex special = rules_.add_node();
  for (const std::string& mark : ends_)
    rules_.add_skip(rules_.append_literal(special, special_token(mark)), to);
  const std::vector<NodeIndex> nodes = append_nodes(to);
  rules_.add_skip(from, nodes[0]);
  for (StateIndex i = 0; i < states_.size(); ++i)
    if (states_[i].mark == State::Mark::kNone) rules_.add_skip(nodes[i], ends_.empty() ? to : special);
}

}  // namespace concertina::grammar
