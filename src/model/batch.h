#pragma once

#include <span>

#include "base/ids.h"

namespace concertina::model {

enum class Logits : std::uint8_t { kNone, kLast };

// One sequence's share of a step: its tokens at positions start_position, start_position + 1, ...
struct SequenceSlice {
  std::span<const TokenId> tokens;  // [n_tokens], 1 or more
  std::size_t start_position = 0;
  std::span<const BlockId> block_table;  // covers [0, start_position + n_tokens)
  Logits logits = Logits::kNone;         // of the last token
};

using Batch = std::span<const SequenceSlice>;

}  // namespace concertina::model
