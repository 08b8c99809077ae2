#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/ids.h"
#include "request/token_counts.h"

namespace concertina::scheduler {

// One sequence's share of a step: tokens [start_position, start_position + n_tokens) of the sequence.
struct PlanEntry {
  RequestId request;
  std::size_t start_position = 0;
  std::size_t n_tokens = 0;
  enum class Sample : std::uint8_t {
    kNo,
    kYes
  } sample = Sample::kNo;                // the last token's logits give the next token
  std::span<const TokenId> tokens;       // [n_tokens]; valid until the next change to the scheduler
  std::span<const BlockId> block_table;  // covers positions [0, start_position + n_tokens); same validity
  const request::Request* request_now = nullptr;  // with every token known of it; same validity
  const request::TokenCounts* counts =
      nullptr;  // of those, where it is sampled with penalties; same validity
  // Tokens of its prompt whose log-probabilities are wanted and not told yet: the first comes after the
  // entry's token `first_scored`. Same validity.
  std::span<const TokenId> scored;
  std::size_t first_scored = 0;
};

// What one step computes. Made by plan() without changing anything that was committed; void by not being
// committed.
struct StepPlan {
  std::vector<PlanEntry> entries;
  std::size_t n_tokens = 0;
  std::size_t n_prefill_tokens = 0;  // of these: not of a sequence that decodes
  bool empty() const { return entries.empty(); }
};

}  // namespace concertina::scheduler
