#pragma once

#include <algorithm>
#include <cstddef>

#include "kvcache/sequence_records.h"

namespace concertina::scheduler {

inline constexpr std::size_t kFewTokens = 4;  // that a sequence which has generated may miss and yet decode

struct Limits {
  std::size_t max_num_seqs = 64;             // sequences in one step
  std::size_t max_num_batched_tokens = 512;  // tokens in one step, decodes and prefill chunks together
  std::size_t max_model_len = 1024;          // prompt + generated tokens of one sequence
  std::size_t block_size = 16;               // tokens of one KV block
  std::size_t n_blocks = 0;                  // KV blocks of this rank
  std::size_t replay_chunk_tokens = 64;      // most tokens a step spends on replays while live sequences run
  std::size_t max_num_replays = 8;           // replays in one step, beside max_num_seqs
  std::size_t max_length() const { return std::min(max_model_len, n_blocks * block_size); }  // of a sequence
};

// Of the records of a scheduler with these limits: one for all that run or are replayed. More run after many
// take-overs at once; those without one are computed again where they move.
kvcache::RecordsLayout records_layout(const Limits& limits);

}  // namespace concertina::scheduler
