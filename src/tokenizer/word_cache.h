#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <span>
#include <vector>

#include "base/ids.h"

namespace concertina::tokenizer {

// Words met before in one text: the ids that BPE begins with -> those it ends with. Direct-mapped: a word
// that comes takes the place of another. Words too long or with too many tokens are not kept.
class WordCache {
 public:
  static constexpr std::size_t kMaxSymbols = 16, kMaxIds = 6;

  // Small for a small text: clearing it must not cost more than it spares.
  void resize_for(std::size_t text_bytes) {
    entries_.resize(std::bit_ceil(std::clamp<std::size_t>(text_bytes / 16, 16, 2048)));
  }

  std::span<const TokenId> find(std::span<const TokenId> word) const {
    const Entry& entry = entries_[slot_of(word)];
    if (!std::ranges::equal(word, std::span(entry.word.data(), entry.n_symbols))) return {};
    return {entry.ids.data(), entry.n_ids};
  }

  void keep(std::span<const TokenId> word, std::span<const TokenId> ids) {
    if (word.size() > kMaxSymbols || ids.size() > kMaxIds) return;
    Entry& entry = entries_[slot_of(word)];
    std::ranges::copy(word, entry.word.begin());
    std::ranges::copy(ids, entry.ids.begin());
    entry.n_symbols = static_cast<std::uint8_t>(word.size());
    entry.n_ids = static_cast<std::uint8_t>(ids.size());
  }

 private:
  struct Entry {
    std::array<TokenId, kMaxSymbols> word;
    std::array<TokenId, kMaxIds> ids;
    std::uint8_t n_symbols = 0, n_ids = 0;
  };

  std::size_t slot_of(std::span<const TokenId> word) const {
    std::uint64_t hash = word.size();
    for (const TokenId id : word) hash = (hash ^ static_cast<std::uint32_t>(id)) * 0x9E3779B97F4A7C15ull;
    return hash >> 40 & (entries_.size() - 1);
  }

  std::vector<Entry> entries_;  // a power of two
};

}  // namespace concertina::tokenizer
