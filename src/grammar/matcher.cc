#include "grammar/matcher.h"

#include <algorithm>
#include <bit>

#include "base/check.h"

namespace concertina::grammar {
namespace {

constexpr std::size_t kMostStacks = 4096;  // kept of steps and walks that are over

void set(std::span<std::uint64_t> mask, std::span<const TokenId> tokens) {
  for (const TokenId token : tokens)
    mask[static_cast<std::size_t>(token) / 64] |= std::uint64_t{1} << (token % 64);
}

}  // namespace

Matcher::Matcher(std::shared_ptr<const CompiledGrammar> grammar)
    : grammar_(std::move(grammar)),
      reader_(grammar_->automaton()),
      levels_(grammar_->vocabulary().trie().depth() + 1) {
  reader_.start(grammar_->automaton().start(), kEmptyStack, now_);
}

Matcher::Accepted Matcher::accept(TokenId token) {
  const auto bytes = grammar_->vocabulary().bytes_of(token);
  return bytes.empty() ? Accepted::kRefused : accept(bytes);
}

Matcher::Accepted Matcher::accept(std::string_view bytes) {
  before_ = now_;
  for (const char byte : bytes) {
    reader_.step(now_, static_cast<std::uint8_t>(byte), next_);
    std::swap(now_, next_);
    if (!now_.is_dead()) continue;
    std::swap(now_, before_);
    return Accepted::kRefused;
  }
  if (reader_.pool().size() > kMostStacks) reader_.keep_only(now_);
  return Accepted::kYes;
}

void Matcher::fill_mask(std::span<std::uint64_t> mask) {
  CHECK(mask.size() == grammar_->vocabulary().n_mask_words(), "a mask of {} words", mask.size());
  std::fill(mask.begin(), mask.end(), 0);
  for (const Item& item : now_.items) add_table(item, mask);
  if (reader_.pool().size() > kMostStacks) reader_.keep_only(now_);
}

void Matcher::add_table(const Item& item, std::span<std::uint64_t> mask) {
  const MaskTables& tables = grammar_->tables();
  const StateTable& table = tables.of(item.state);
  switch (table.kind) {
    case StateTable::Kind::kNone:
      levels_[0].items.assign(1, item);
      return walk(grammar_->vocabulary().trie(), mask);
    case StateTable::Kind::kList:
      set(mask, tables.list(table));
      break;
    case StateTable::Kind::kBits: {
      const auto& bits = tables.bits(table);
      for (std::size_t word = 0; word < mask.size(); ++word) mask[word] |= bits[word];
      break;
    }
  }
  if (!table.rests || item.stack == kEmptyStack) return;
  reader_.come_back(item.stack, levels_[0]);
  walk(tables.rests(table), mask);
}

void Matcher::walk(const TokenTrie& trie, std::span<std::uint64_t> mask) {
  const auto nodes = trie.nodes();
  for (std::uint32_t at = 1; at < nodes.size();) {
    const auto& node = nodes[at];
    Reading& reading = levels_[node.depth];
    reader_.step(levels_[node.depth - 1], node.byte, reading);
    if (reading.is_dead()) {
      at = node.end;
      continue;
    }
    set(mask, trie.tokens_of(at));
    at = reading.items.empty() ? node.end : at + 1;
  }
}

std::optional<TokenId> Matcher::forced_token(std::span<const std::uint64_t> mask) const {
  std::optional<TokenId> only;
  for (std::size_t word = 0; word < mask.size(); ++word) {
    if (mask[word] == 0) continue;
    if (only || !std::has_single_bit(mask[word])) return std::nullopt;
    only = static_cast<TokenId>(word * 64 + static_cast<std::size_t>(std::countr_zero(mask[word])));
  }
  return is_complete() ? std::nullopt : only;
}

}  // namespace concertina::grammar
