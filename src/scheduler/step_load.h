#pragma once

#include <cstdint>

namespace concertina::scheduler {

// What one rank computes in a step, and what it has left for the next ones. All ranks of an epoch learn it of
// one another in the step's first exchange. Prefill here is every token but the next ones of a sequence
// that decodes (Sequence::decodes): of prompts, of what was preempted, of replays.
struct StepLoad {
  std::uint32_t n_streams = 0;    // sequences that take a token, and replays: who would notice a long step
  std::uint32_t n_tokens = 0;     // of the step
  std::uint64_t n_positions = 0;  // that its tokens attend to, of all tokens together
  std::uint32_t n_prefill = 0;    // of n_tokens
  std::uint32_t n_decode_positions = 0;  // of n_positions: not of prefill
  std::uint32_t n_wanted = 0;            // prefill tokens left beyond the step, at most a step's worth
  std::uint32_t wanted_at = 0;           // their mean position
  bool operator==(const StepLoad&) const = default;
};

}  // namespace concertina::scheduler
