#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/ids.h"
#include "request/extras.h"

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
  const request::Extras* extras = nullptr;        // of this entry; null: a plain request. Same validity
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
