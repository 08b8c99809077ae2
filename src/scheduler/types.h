#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <vector>

#include "base/ids.h"

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

// How a token is drawn; greedy when temperature is 0.
struct SamplingParams {
  float temperature = 1.0f;
  std::int32_t top_k = 0;  // 0: all
  float top_p = 1.0f;
  float min_p = 0.0f;
  std::uint64_t seed = 0;
  std::uint32_t choice_index = 0;
};

struct StopParams {
  std::size_t max_tokens = 16;  // generated tokens, 1 or more
  bool ignore_eos = false;
  std::vector<TokenId> eos_token_ids;   // once added to a scheduler: sorted, each once
  std::vector<TokenId> stop_token_ids;  // the same
};
inline constexpr std::size_t kMaxStopTokenIds = 1024;  // distinct ones of a request

inline void sort_ids(std::vector<TokenId>& ids) {
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
}

// kError: the model gave no finite logits, so that there is no next token.
enum class FinishReason : std::uint8_t { kNone, kStop, kLength, kError };

// In place of a sampled token: there is none.
inline constexpr TokenId kNoToken = -1;

// A replay computes the KV of a request that another rank still decodes; it samples nothing until it is taken
// over.
enum class Mode : std::uint8_t { kLive, kReplay };

struct Request {
  RequestId id;
  Attempt attempt;
  std::vector<TokenId> tokens;  // prompt, then what was generated so far (earlier attempts included)
  std::size_t n_prompt_tokens = 0;
  SamplingParams sampling;
  StopParams stop;
  Mode mode = Mode::kLive;
};

}  // namespace concertina::scheduler
