#pragma once

#include <memory>

#include "device/cuda/graph.h"
#include "model/cuda/device_step.h"
#include "model/cuda/kv_pools.h"
#include "model/forward.h"

namespace concertina::model::cuda {

struct CudaOptions {
  int device = 0;
  WorkspaceLimits limits;
  std::size_t block_size = 64;
  // Of the GPU's memory, what this process may take in all (vLLM's --gpu-memory-utilization).
  double memory_utilization = 0.9;
  std::uint64_t kv_bytes = 0;  // of KV; 0: what is left
  // Which experts each layer of the last step chose, for tests; else only the last layer's.
  enum class KeepChoices : std::uint8_t { kNo, kYes } keep_choices = KeepChoices::kNo;
};

// A rank's forward pass on one GPU, all experts on it: weights, KV and buffers in one arena, taken once. The
// same pass over the same layers as model::forward, whose ops it enqueues one after the other; rows have the
// same bits in any company, and other bits than a CPU's. One thread.
class CudaPass {
 public:
  // CudaErrors, or kUnsupported. `model` is not needed afterwards, except for its config.
  static Result<std::unique_ptr<CudaPass>> create(const Model& model, const CudaOptions& options,
                                                  const std::function<void()>& on_weight = {});

  // With weights of no checkpoint. `config` outlives it.
  static Result<std::unique_ptr<CudaPass>> create_random(const ModelConfig& config,
                                                         const CudaOptions& options, RandomWeights random);

  // As model::forward: a failure is the device's, and the pass is of no use after it. The logits stay there.
  // Allocates nothing.
  Result<StepOutput> run(Batch batch);

  const device::cuda::Properties& device() const { return device_.properties(); }
  std::size_t n_blocks() const { return n_blocks_; }
  std::size_t block_size() const { return options_.block_size; }
  std::size_t arena_bytes() const { return arena_.n_bytes(); }
  const kernels::Sampled& sampled() const { return sampled_; }
  // Of the last step, [n_drawn, vocab_size]; for tests.
  Result<std::vector<float>> last_logits();
  // Of the last step, [n_rows, top_k], ids by falling logit; for tests. A layer before the last: with
  // KeepChoices.
  Result<std::vector<std::uint32_t>> last_experts(std::size_t layer);
  // Bytes of all KV to `value`; for tests of what nobody may read.
  Status poison_kv(std::uint8_t value);
  // The same of all buffers of a step.
  Status poison_buffers(std::uint8_t value);

 private:
  struct Buffers {
    Buffers(const ModelConfig& config, const CudaOptions& options, Cutter& memory);
    float *hidden, *qkv, *delta, *router_logits, *weights, *ones, *logits, *changed;
    Bf16 *normed, *q, *attended, *middle, *rows, *last;
    std::uint32_t *ids, *zeros;
    std::byte *begin, *end;  // all of them
    kernels::cuda::SlotLists lists;
    std::byte* inputs;
    std::byte* outcome;  // Drawn [max_sequences], then TopLogprob [max_sequences, 20]
    std::byte* scored;   // Score [max_tokens], then TopLogprob [max_tokens, 20]
  };
  CudaPass(const ModelConfig& config, const CudaOptions& options, device::cuda::Device device,
           device::cuda::Queue queue, device::cuda::Arena arena, std::byte* memory, StepStaging staging,
           device::cuda::Pinned outcome, device::cuda::Pinned scored, std::size_t n_blocks);

  // All but the weights.
  static Result<std::unique_ptr<CudaPass>> create_empty(const ModelConfig& config,
                                                        const CudaOptions& options);
  Status fill_constants();
  // Decoding of few sequences as graphs, whose many small kernels the host could not enqueue as fast as they
  // run.
  Status record_decoding();
  Status enqueue_or_replay(const DeviceStep& step);
  void enqueue(const DeviceStep& step);
  void enqueue_attention(const DeviceStep& step, std::size_t layer);
  void enqueue_mlp(const DeviceStep& step, std::size_t layer);
  void enqueue_logits(const std::uint32_t* of, std::uint32_t n);
  void enqueue_scoring(const DeviceStep& step);
  void enqueue_sampling(const DeviceStep& step);
  Status fetch_outcome(const DeviceStep& step);
  void read_outcome(std::size_t n_drawn);
  void read_scored(std::size_t n_scored);
  std::uint32_t* ids_of(std::size_t layer) const;

  const ModelConfig& config_;
  const CudaOptions options_;
  device::cuda::Device device_;
  device::cuda::Queue queue_;
  device::cuda::Arena arena_;
  Cutter cutter_;
  DeviceModel model_;
  Buffers buffers_;
  const KvPools pools_;
  Bf16* kv_;
  StepStaging staging_;
  device::cuda::Pinned outcome_, scored_there_;
  const std::size_t n_blocks_;
  StepInputs inputs_;
  kernels::Sampled sampled_;
  kernels::Scored scored_;
  std::size_t n_drawn_ = 0;
  // A step, of whose number of rows, and what ran for it. For another whose arrays lie elsewhere it is not.
  struct Recorded {
    DeviceStep step;
    std::vector<kernels::cuda::AttentionStep> attention;
    device::cuda::Graph graph;
  };
  std::vector<Recorded> recorded_;  // [n_rows - 1]
};

}  // namespace concertina::model::cuda
