#pragma once

#include <cstdint>
#include <string>

#include "base/build_identity.h"
#include "base/time.h"
#include "cluster/coordinator.h"
#include "deployment/deployment.h"
#include "front/form.h"
#include "front/memory_plan.h"

namespace concertina::front {

// What `concertina serve` was told, after defaults; the same for every rank and for the life of the process.
struct FrontOptions {
  std::string binary_name;  // what ranks run, for errors
  BuildIdentity identity;   // that every rank must have
  std::string model_path;
  std::string load_format = "auto";    // or "dummy"
  std::string checkpoint_fingerprint;  // of the files that ranks map; empty: not checked
  std::string config_json;             // config.json as this process read it
  std::string vocabulary;  // texts of tokens, for structures (grammar/packed_vocabulary.h); empty: none
  // kEager: weights are in memory of this process that ranks map (weights_fd); kLazy: ranks map the files.
  enum class WeightLoading : std::uint8_t { kEager, kLazy } weight_loading = WeightLoading::kEager;
  int weights_fd = -1;                     // kEager: sealed before a rank starts; not owned
  std::uint64_t weights_bytes = 0;         // kEager: of that memory, all ranks together
  std::uint64_t rank_weights_bytes = 0;    // of its own, of each rank
  std::uint64_t expert_weights_bytes = 0;  // the ranks' own, all ranks of an epoch together
  std::uint64_t dummy_seed = 0;
  cluster::CoordinatorConfig cluster;           // its peer timeout is peer_timeout_ms
  std::uint64_t kv_cache_bytes = 256ull << 20;  // a rank; serve's default is default_kv_bytes
  MemoryNeeds memory;                           // of ranks; checked before any is started
  std::size_t kv_tokens = 0;                    // that it holds
  std::size_t max_model_len = 0;
  std::size_t max_num_seqs = 64;
  std::size_t max_num_batched_tokens = 512;
  std::size_t block_size = 16;
  std::size_t max_num_queued_reqs = 1024;
  std::size_t replay_chunk_tokens = 64;
  std::uint64_t kv_move_bytes_per_second = 4ull << 30;  // 0: no bound
  std::uint32_t step_time_budget_ms = 210;              // 0: none
  std::uint32_t peer_timeout_ms = 2000;
  std::uint32_t threads_per_rank = 1;
  Form form;
  std::string device = "cpu";           // or "cuda", "cuda:N"
  double gpu_memory_utilization = 0.9;  // of that GPU's memory, what a rank may take
  std::string log_level = "info";
  Duration shutdown_timeout = std::chrono::seconds(30);
  using ReplaceFailed = cluster::CoordinatorConfig::ReplaceFailed;
  using Rebalance = deployment::Config::Rebalance;
  Rebalance rebalance = Rebalance::kYes;
  // For tests: a fenced rank is not killed, and must find out by itself.
  enum class KillFenced : std::uint8_t { kNo, kYes } kill_fenced = KillFenced::kYes;
};

}  // namespace concertina::front
