#pragma once

#include <string>
#include <vector>

#include "grammar/rule_set.h"

namespace concertina::grammar {

// Any text in which some marks do not stand, to its end or up to the first of some others: the beginnings of
// all marks are the states of an automaton (Aho, Corasick 1975), each of which goes on with every character.
class MarkedText {
 public:
  // UTF-8, none empty. `ends` empty: the text may end anywhere. A mark that ends it belongs to it and may be
  // a special token, too (frames.h).
  MarkedText(RuleSet& rules, const std::vector<std::string>& ends, const std::vector<std::string>& absent);
  void append(NodeIndex from, NodeIndex to);

 private:
  using StateIndex = std::size_t;  // 0: no mark has begun
  struct State {
    std::vector<StateIndex> next;  // by the place in characters_
    // What it ends with: of two marks the one that ends the text counts.
    enum class Mark : std::uint8_t { kNone, kAbsent, kEnd } mark = Mark::kNone;
  };
  std::size_t place_of(char32_t character);
  StateIndex add_state();
  void add(const std::string& text, State::Mark mark);
  void complete();
  std::vector<NodeIndex> append_nodes(NodeIndex to);

  static constexpr StateIndex kNone = -1;
  RuleSet& rules_;
  const std::vector<std::string> ends_;
  std::u32string characters_;  // of all marks, each once
  std::vector<State> states_;
};

}  // namespace concertina::grammar
