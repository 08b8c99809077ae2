#pragma once

#include <memory>
#include <optional>
#include <string>

#include "checkpoint/weight_source.h"
#include "device/stream.h"
#include "exchange/epoch_builder.h"
#include "exchange/link.h"
#include "exchange/steps.h"
#include "model/cuda/cuda_pass.h"
#include "model/expert_runner.h"
#include "model/forward.h"
#include "scheduler/scheduler.h"
#include "worker/inbox.h"
#include "worker/kv_memory.h"
#include "worker/kv_peers.h"

namespace concertina::worker {

enum class WorkerError { kNoKvMemory, kBadConfiguration, kLoadCancelled, kCheckpointChanged };

// What a rank is told at its start: transport::Configure in the rank's own types.
struct RankOptions {
  RankId rank;
  Incarnation incarnation;
  std::string model_path;
  std::string load_format;   // "auto" or "dummy"
  std::string config_json;   // of the model; empty: read from model_path
  std::string weights_path;  // /proc/PID/fd/FD of filled memory; empty: weights are loaded from model_path
  std::string checkpoint_fingerprint;  // that model_path must have, if weights are loaded from it; empty: any
  std::uint64_t dummy_seed = 0;
  model::Quantization quantization = model::Quantization::kNone;
  kernels::ActivationType activations = kernels::ActivationType::kFloat32;
  device::InstructionSet instruction_set = device::best_instruction_set();
  std::optional<int> cuda_device;  // the GPU that it computes on; none: the CPU
  double gpu_memory_utilization = 0.9;
  std::uint64_t kv_cache_bytes = 0;            // on a GPU 0: what is left
  std::uint64_t kv_move_bytes_per_second = 0;  // copied from peers; 0: no bound
  scheduler::Limits limits;                    // n_blocks follows from kv_cache_bytes
  std::size_t max_ranks = 1;
  Duration peer_timeout{};
  Duration step_time_budget{};  // 0: none
  std::size_t n_threads = 1;
  enum class Start : std::uint8_t { kAtOnce, kInTheBackground } start = Start::kAtOnce;  // others decode
  std::vector<int> cores;  // [n_threads], the step thread's first; empty: any
};

// Everything a rank computes with, made at its start and kept for life: no step takes memory.
struct RankParts {
  std::unique_ptr<device::Stream> stream;
  std::unique_ptr<checkpoint::WeightSource> source;
  std::unique_ptr<model::Model> model;
  std::unique_ptr<KvMemory> kv_memory;
  std::unique_ptr<model::KvCache> kv_cache;     // in kv_memory; null on a GPU
  std::unique_ptr<model::cuda::CudaPass> cuda;  // on a GPU: the pass, with its KV, instead of the workspace
  std::unique_ptr<KvPeers> kv_peers;
  std::unique_ptr<model::Workspace> workspace;
  std::unique_ptr<scheduler::Scheduler> scheduler;
  std::unique_ptr<scheduler::StepBudget> budget;
  std::unique_ptr<exchange::Link> link;
  std::unique_ptr<exchange::Steps> steps;
  std::unique_ptr<exchange::EpochBuilder> epochs;
  std::unique_ptr<model::ExpertRunner> runner;
  std::unique_ptr<model::ExpertExchange> experts;
  scheduler::Limits limits;
  std::uint64_t kv_move_bytes_per_second = 0;
};

// Opens the weights, loads what every rank holds (all but the experts), takes KV and exchange memory. The
// error says what could not be had. `on_suspect` is called on the step thread.
// `on_progress`, if any, is called now and then while it loads, on this thread.
// `stream`: made by the caller, since its threads inherit the priority of the one that makes them, and this
// function may run in the background; null: made here.
Result<RankParts> make_rank_parts(const RankOptions& options,
                                  std::function<void(const exchange::Suspicion&)> on_suspect,
                                  const std::function<void()>& on_progress = {},
                                  std::unique_ptr<device::Stream> stream = nullptr);

// Reads one byte of every page of a weight: the kernel maps it, from the disk if need be. Returns its bytes.
std::uint64_t touch(const tensor::Weight& weight);

// Touches the pages of all weights but the experts', so that no step waits for the disk. `on_progress` is
// called after each weight: a slow disk is no standstill. Returns their bytes. Any thread.
std::uint64_t prefault(const model::Model& model,
                       const std::function<void(std::uint64_t touched_bytes)>& on_progress);

}  // namespace concertina::worker
