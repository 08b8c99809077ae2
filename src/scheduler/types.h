#pragma once

#include <cstddef>

namespace concertina::scheduler {

struct Limits {
  std::size_t max_num_seqs = 64;             // sequences in one step
  std::size_t max_num_batched_tokens = 512;  // tokens in one step, decodes and prefill chunks together
  std::size_t max_model_len = 1024;          // prompt + generated tokens of one sequence
  std::size_t block_size = 16;               // tokens of one KV block
  std::size_t n_blocks = 0;                  // KV blocks of this rank
  std::size_t replay_chunk_tokens = 64;      // most tokens a step spends on replays while live sequences run
  std::size_t max_num_replays = 8;           // replays in one step, beside max_num_seqs
};

}  // namespace concertina::scheduler
