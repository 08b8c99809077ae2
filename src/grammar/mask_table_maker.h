#pragma once

#include <map>
#include <vector>

#include "grammar/configurations.h"
#include "grammar/mask_tables.h"

namespace concertina::grammar {

// Makes tables state by state, those that spare most first and of these those near the start, until
// kMaxTableWork is done.
class MaskTableMaker {
 public:
  MaskTableMaker(const Automaton& automaton, const Vocabulary& vocabulary, MaskTables& tables);
  void run();

 private:
  using Index = Configurations::Index;
  using RestsKey = std::vector<std::pair<TokenId, std::uint32_t>>;  // token, bytes of its rest
  std::vector<StateIndex> states_from_the_start() const;
  int turn_of(StateIndex state) const;  // 0: first
  void make(StateIndex state);
  std::size_t take_text(Index from);
  void walk(Index from);
  void find_rests(StateIndex state);
  void walk_rests(std::uint32_t top, Index callers);
  void take_rests(std::uint32_t top, const ByteBits& follow);
  void add_rest(std::uint32_t node, std::uint16_t depth);
  void take(std::span<const TokenId> tokens);
  StateTable keep_taken();
  std::optional<std::uint32_t> keep_rests();

  const Automaton& automaton_;
  const Vocabulary& vocabulary_;
  MaskTables& tables_;
  Configurations configurations_, callers_;
  std::vector<Index> path_;             // by depth
  std::vector<std::size_t> text_path_;  // by depth: characters so far, kNoText if it is no text
  std::vector<TokenId> taken_;          // of the state under way
  std::vector<std::uint64_t> bits_;     // the same as a mask
  std::size_t n_text_ = 0;              // of them, which are not in taken_
  std::vector<std::uint32_t> ends_;     // nodes at which its rule may end
  std::vector<TokenTrie::Entry> rests_;
  std::map<std::vector<TokenId>, StateTable> known_lists_;
  std::map<std::vector<std::uint64_t>, StateTable> known_bits_;
  std::map<RestsKey, std::uint32_t> known_rests_;
};

}  // namespace concertina::grammar
