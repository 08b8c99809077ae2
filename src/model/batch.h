#pragma once

#include <span>

#include "base/ids.h"
#include "request/request.h"
#include "request/token_counts.h"

namespace concertina::model {

// One sequence's share of a step: its tokens at positions start_position, start_position + 1, ...
struct SequenceSlice {
  std::span<const TokenId> tokens;  // [n_tokens], 1 or more
  std::size_t start_position = 0;
  std::span<const BlockId> block_table;       // covers [0, start_position + n_tokens)
  const request::Request* request = nullptr;  // as whose parameters the next token is drawn; null: none is
  // Of that request's tokens, where it has penalties.
  const request::TokenCounts* counts = nullptr;
  // Tokens whose log-probabilities are wanted: each comes after the row of this slice from `first_scored` on.
  std::span<const TokenId> scored = {};
  std::size_t first_scored = 0;
  std::uint32_t n_scored_top = 0;  // beside each one's own
};

using Batch = std::span<const SequenceSlice>;

}  // namespace concertina::model
