#pragma once

#include "base/check.h"
#include "worker/rank_parts.h"

namespace concertina::worker {

// For tests: a rank of a real model of 2 MoE layers of 8 experts, with room for two short sequences.
inline RankOptions small_rank(const cluster::Member& self) {
  RankOptions options{.rank = self.rank,
                      .incarnation = self.incarnation,
                      .model_path = CONCERTINA_SOURCE_DIR "/tests/fixtures/qwen3_moe",
                      .load_format = "auto",
                      .kv_cache_bytes = 1 << 20};
  options.limits = {.max_num_seqs = 2,
                    .max_num_batched_tokens = 8,
                    .max_model_len = 64,
                    .block_size = 4,
                    .n_blocks = 0,
                    .replay_chunk_tokens = 8};
  options.peer_timeout = std::chrono::seconds(60);
  return options;
}

// Also for tests: those parts, of a rank whose peers never fall silent.
inline RankParts make_small_rank(const RankOptions& options) {
  auto parts = make_rank_parts(options, [](const exchange::Suspicion& suspicion) {
    CHECK(false, "rank {} does not answer: {}", suspicion.rank, suspicion.what);
  });
  CHECK(parts.has_value(), "{}", parts.error().message());
  return std::move(*parts);
}

}  // namespace concertina::worker
