#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/ids.h"
#include "exchange/protocol/header.h"

namespace concertina::exchange {

inline constexpr std::size_t kBanks = 4;
inline constexpr std::size_t kHeaderBytes = 128;  // two cache lines: processors fetch lines in pairs

// Which of the four banks an exchange uses: (parity of the epoch, exchange counted from the epoch's start mod
// 2). Within an epoch two are enough: who starts exchange k has every result of k - 1, so every peer has
// finished k - 2. Across a flip the other two are used, as a slow peer may still read the last results of the
// old epoch.
constexpr std::size_t bank_of(Epoch epoch, std::uint64_t exchange_index) {
  return (epoch.value() % 2) * 2 + exchange_index % 2;
}

constexpr std::size_t bank_of(const Position& position) { return bank_of(position.epoch, position.index); }

// One (row, expert) that a rank wants computed: a row of its activations in the same bank.
struct Entry {
  std::uint32_t row;
  std::uint32_t expert;
};

// Where things lie in a rank's exchange memory; equal on every rank of a deployment. All offsets are in bytes
// from the region's body; every part begins on a page, so that what is not used takes no memory. A bank
// holds:
//   dispatch headers  [max_ranks]            one for each reader
//   result headers    [max_ranks]            one for each reader
//   entries           [max_tokens * top_k]   grouped by reader; its header says where and how many
//   activations       [max_tokens, hidden_size] f32, written once, read by whoever needs a row
//   results           [max_ranks * max_tokens * top_k, hidden_size] f32, grouped by reader as entries are
struct Layout {
  std::size_t max_ranks = 0, max_tokens = 0, top_k = 0, hidden_size = 0;

  std::array<std::uint64_t, 4> numbers() const { return {max_ranks, max_tokens, top_k, hidden_size}; }
  std::size_t max_entries() const { return max_tokens * top_k; }
  std::size_t max_results() const { return max_ranks * max_entries(); }
  std::size_t row_bytes() const { return hidden_size * sizeof(float); }

  std::size_t header(Half half, std::size_t bank, RankId reader) const;
  std::size_t entries(std::size_t bank) const;
  std::size_t activations(std::size_t bank) const;
  std::size_t results(std::size_t bank) const;
  std::size_t bank_bytes() const;
  std::size_t body_bytes() const { return kBanks * bank_bytes(); }
};

}  // namespace concertina::exchange
