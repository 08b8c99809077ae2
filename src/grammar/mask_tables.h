#pragma once

#include <map>
#include <optional>
#include <vector>

#include "grammar/automaton.h"
#include "grammar/token_trie.h"

namespace concertina::grammar {

// What is known of a state's mask whatever called its rule (the idea is XGrammar's: Dong et al. 2024,
// "XGrammar: Flexible and Efficient Structured Generation Engine"): tokens that it takes for certain, and
// what remains of those tokens in whose middle its rule ends, to be read by the caller. Many tokens share a
// rest, so that a mask takes a walk over few bytes.
struct StateTable {
  enum class Kind : std::uint8_t { kNone, kList, kBits };
  Kind kind = Kind::kNone;  // none: compiling was too much work; the whole vocabulary is walked for each mask
  std::uint32_t index = 0;  // of the lists, or of the bits
  std::optional<std::uint32_t> rests;
};

// The tables of all states that bytes lead on from. Immutable once made.
class MaskTables {
 public:
  MaskTables(const Automaton& automaton, const Vocabulary& vocabulary);

  const StateTable& of(StateIndex state) const { return tables_[state]; }
  const std::vector<TokenId>& list(const StateTable& table) const { return lists_[table.index]; }
  const std::vector<std::uint64_t>& bits(const StateTable& table) const { return bits_[table.index]; }
  const TokenTrie& rests(const StateTable& table) const { return rests_[*table.rests]; }

  struct Counts {
    std::size_t n_tables = 0, n_bits = 0, bytes = 0, work = 0;
  };
  Counts counts() const;

 private:
  friend class MaskTableMaker;
  std::vector<StateTable> tables_;
  std::vector<std::vector<TokenId>> lists_;
  std::vector<std::vector<std::uint64_t>> bits_;
  std::vector<TokenTrie> rests_;
  std::size_t work_ = 0;
};

}  // namespace concertina::grammar
