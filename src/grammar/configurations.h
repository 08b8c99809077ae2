#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "grammar/reading.h"
#include "grammar/token_trie.h"

namespace concertina::grammar {

// Readings above a stack that is not known, numbered, with their steps remembered: a walk over a vocabulary
// takes one look-up a byte.
class Configurations {
 public:
  using Index = std::uint32_t;
  static constexpr Index kDead = 0;
  using Row = std::array<Index, 256>;

  explicit Configurations(const Automaton& automaton) : reader_(automaton) { clear(); }

  Index of(const Reading& reading);
  Index from_edges_of(StateIndex state);    // its own bytes only, not those of rules that it calls
  Index from_callers_of(StateIndex state);  // all that may come after its rule, whoever called it
  const Row& row(Index index);              // valid until the next call of any method
  bool ends(Index index) const { return readings_[index].ends; }
  bool goes_on(Index index) const { return !readings_[index].items.empty(); }
  // How many characters of text (TextState), whichever, are read on from here, without the rule's end being
  // reached; kForEver (more than any token has), or less than there are.
  int text_run(Index index);
  static constexpr int kForEver = 255;
  std::size_t size() const { return readings_.size(); }
  bool has_overflown() const { return reader_.has_overflown(); }
  std::size_t work() const { return work_before_ + reader_.work(); }  // the reader's, clear() or not
  void clear();

 private:
  struct Hash {
    std::size_t operator()(const std::vector<Item>& items) const;
  };
  void fill_row(Index index);
  int least_run(Index from, TextState state, Index begin);

  Reader reader_;
  std::size_t work_before_ = 0;  // of readers before a clear()
  std::vector<Reading> readings_;
  std::vector<std::unique_ptr<Row>> rows_;
  std::vector<std::int16_t> text_runs_;                             // -1: not known
  std::unordered_map<std::vector<Item>, Index, Hash> by_items_[2];  // by Reading::ends
};

}  // namespace concertina::grammar
