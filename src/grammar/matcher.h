#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "grammar/compiled_grammar.h"
#include "grammar/reading.h"

namespace concertina::grammar {

// Where one text stands in its grammar: a function of the tokens that it was given, so that it may be made
// again from them anywhere. One text, one thread.
class Matcher {
 public:
  explicit Matcher(std::shared_ptr<const CompiledGrammar> grammar);

  // kRefused: no text of the grammar goes on so; nothing has changed.
  enum class Accepted { kYes, kRefused };
  Accepted accept(TokenId token);
  Accepted accept(std::string_view bytes);

  // Writes every word: bit t is set where token t may come next. [n_mask_words]. None is set once nothing may
  // follow.
  void fill_mask(std::span<std::uint64_t> mask);
  // The text may end here: an end token is allowed, beside what fill_mask allows.
  bool is_complete() const { return now_.ends; }
  // More than kMaxStacks ways to read a text came up: what went so was refused, though the grammar has it.
  bool has_overflown() const { return reader_.has_overflown(); }
  // The one token that may come next, an end not counting, where there is only one. mask: as of fill_mask.
  std::optional<TokenId> forced_token(std::span<const std::uint64_t> mask) const;

 private:
  void add_table(const Item& item, std::span<std::uint64_t> mask);
  void walk(const TokenTrie& trie, std::span<std::uint64_t> mask);  // from levels_[0]

  std::shared_ptr<const CompiledGrammar> grammar_;
  Reader reader_;
  Reading now_, next_, before_;
  std::vector<Reading> levels_;  // by depth of a walk
};

}  // namespace concertina::grammar
