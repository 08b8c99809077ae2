#pragma once

#include <span>

#include "base/ids.h"
#include "request/extras.h"
#include "request/request.h"

namespace concertina::model {

// One sequence's share of a step: its tokens at positions start_position, start_position + 1, ...
struct SequenceSlice {
  std::span<const TokenId> tokens;  // [n_tokens], 1 or more
  std::size_t start_position = 0;
  std::span<const BlockId> block_table;       // covers [0, start_position + n_tokens)
  const request::Request* request = nullptr;  // as whose parameters the next token is drawn; null: none is
  const request::Extras* extras = nullptr;    // null: it has no rules, and nothing of it is scored
  std::span<const std::uint64_t> structure = {};  // what its structure leaves, as a mask; empty: all
  std::uint32_t n_scored_top = 0;  // log-probabilities of what is scored, beside each one's own
};

using Batch = std::span<const SequenceSlice>;

}  // namespace concertina::model
