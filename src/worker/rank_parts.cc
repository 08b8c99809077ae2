#include "worker/rank_parts.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/log.h"
#include "base/memory_limits.h"
#include "checkpoint/config_files.h"
#include "checkpoint/dummy_weights.h"
#include "checkpoint/fingerprint.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/weight_arena.h"
#include "exchange/cpu_exchange.h"
#include "exchange/shm/shm_link.h"
#include "model/kv_spec.h"

namespace concertina::worker {

namespace {

Result<model::ModelConfig> config_of(const RankOptions& options) {
  if (options.config_json.empty()) return model::read_config(options.model_path);
  const std::string name = options.model_path + "/config.json";
  ASSIGN_OR_RETURN(const nlohmann::json config, checkpoint::parse_json(options.config_json, name));
  return model::parse_config(config, name);
}

// After the files were opened: what is mapped then stays as it is.
Status check_fingerprint(const RankOptions& options) {
  if (options.checkpoint_fingerprint.empty()) return {};
  ASSIGN_OR_RETURN(const std::string found, checkpoint::fingerprint(options.model_path));
  const std::string difference = checkpoint::describe_difference(options.checkpoint_fingerprint, found);
  if (difference.empty()) return {};
  return fail(WorkerError::kCheckpointChanged,
              fmt::format("{}: the checkpoint's files have changed since the server started: {}. Ranks with "
                          "weights of two would mix: put it back, or restart the server to serve this one",
                          options.model_path, difference));
}

using SourcePtr = std::unique_ptr<checkpoint::WeightSource>;
Result<SourcePtr> open_source(const RankOptions& options, const model::ModelConfig& config) {
  if (!options.weights_path.empty()) {
    ASSIGN_OR_RETURN(auto memory, checkpoint::ArenaWeights::open(options.weights_path));
    return SourcePtr(std::move(memory));
  }
  if (options.load_format == "dummy")
    return SourcePtr(std::make_unique<checkpoint::DummyWeights>(options.dummy_seed, config.dtype));
  auto folder = checkpoint::SafetensorsFolder::open(options.model_path);
  RETURN_IF_ERROR(check_fingerprint(options));  // says more than what files that are half written lack
  if (!folder) return fail(folder.error());
  return SourcePtr(std::move(*folder));
}

Status make_exchange(const RankOptions& options, const model::ModelConfig& config,
                     std::function<void(const exchange::Suspicion&)> on_suspect, RankParts& parts) {
  const cluster::Member self{options.rank, options.incarnation};
  const std::size_t n_moe_layers = config.moe_layers.size(), n_experts = config.experts().n_experts;
  const exchange::Layout layout{
      .max_ranks = options.max_ranks,
      .max_tokens = options.limits.max_num_batched_tokens,
      .top_k = std::max<std::size_t>(1, config.experts().top_k),  // a dense model has none
      .hidden_size = config.hidden_size};
  ASSIGN_OR_RETURN(parts.link, exchange::ShmLink::create(
                                   {.self = self,
                                    .layout = layout,
                                    .prefault_tokens = std::min<std::size_t>(128, layout.max_tokens)}));
  parts.steps = std::make_unique<exchange::Steps>(exchange::StepsConfig{.rank = options.rank,
                                                                        .incarnation = options.incarnation,
                                                                        .max_ranks = options.max_ranks,
                                                                        .peer_timeout = options.peer_timeout,
                                                                        .on_suspect = std::move(on_suspect)},
                                                  *parts.link);
  parts.epochs = std::make_unique<exchange::EpochBuilder>(
      self, options.max_ranks, exchange::ModelShape{n_moe_layers, n_experts}, *parts.link);
  ASSIGN_OR_RETURN(parts.runner, model::CpuExpertRunner::create(
                                     model::expert_shape(config),
                                     {.max_rows = layout.max_results(), .activations = options.activations},
                                     *parts.stream));
  ASSIGN_OR_RETURN(parts.experts, exchange::CpuExchange::create({layout, n_moe_layers, n_experts},
                                                                *parts.steps, *parts.link, *parts.runner));
  return {};
}

// That fit --kv-cache-memory, which must fit the machine's.
Result<std::size_t> n_kv_blocks(const RankOptions& options, const model::ModelConfig& config) {
  const std::uint64_t block_bytes = model::kv_spec(config).bytes_per_block(options.limits.block_size);
  const std::size_t n_blocks = options.kv_cache_bytes / block_bytes;
  if (n_blocks == 0) {
    return fail(WorkerError::kNoKvMemory,
                fmt::format("--kv-cache-memory is {} bytes, but one KV block of {} tokens needs {}",
                            options.kv_cache_bytes, options.limits.block_size, block_bytes));
  }
  // Pages are taken when they are first written: without this check the kernel would kill this rank, or
  // another process, in the middle of serving.
  if (const auto limit = tightest_memory_limit(); limit && options.kv_cache_bytes > limit->available_bytes) {
    return fail(WorkerError::kNoKvMemory,
                fmt::format("--kv-cache-memory is {:.2f} GiB a rank, but {} has {:.2f} GiB left",
                            static_cast<double>(options.kv_cache_bytes) / (1 << 30), limit->name,
                            static_cast<double>(limit->available_bytes) / (1 << 30)));
  }
  return n_blocks;
}

// Of a GPU's KV the host has the records of sequences alone, and the fewest bytes that a block can have.
model::KvLayout blocks_elsewhere(const scheduler::Limits& limits) {
  return {.n_blocks = limits.n_blocks, .block_size = limits.block_size, .pools = {{0, 8}}};
}

// On a GPU, whose blocks are counted afterwards, n_blocks is 0: as many tokens as sequences can have.
model::WorkspaceLimits workspace_limits(const RankOptions& options, std::size_t n_blocks) {
  return {.max_tokens = options.limits.max_num_batched_tokens,
          .max_sequences = options.limits.max_num_seqs + options.limits.max_num_replays,
          .max_model_len = options.limits.max_model_len,
          .max_kv_tokens = n_blocks * options.limits.block_size,
          .n_threads = options.n_threads,
          .activations = options.activations};
}

// The CPU's blocks by --kv-cache-memory, a GPU's by what its weights leave.
Status make_pass(const RankOptions& options, const model::ModelConfig& config,
                 const std::function<void()>& on_progress, RankParts& parts) {
  if (!options.cuda_device) {
    ASSIGN_OR_RETURN(parts.limits.n_blocks, n_kv_blocks(options, config));
    return {};
  }
  ASSIGN_OR_RETURN(parts.cuda,
                   model::cuda::CudaPass::create(*parts.model,
                                                 {.device = *options.cuda_device,
                                                  .limits = workspace_limits(options, 0),
                                                  .block_size = options.limits.block_size,
                                                  .memory_utilization = options.gpu_memory_utilization,
                                                  .kv_bytes = options.kv_cache_bytes},
                                                 on_progress));
  parts.limits.n_blocks = parts.cuda->n_blocks();
  spdlog::info("{}: {:.2f} GiB taken, of which KV of {} tokens", parts.cuda->device().name,
               static_cast<double>(parts.cuda->arena_bytes()) / (1 << 30),
               parts.cuda->n_blocks() * parts.cuda->block_size());
  return {};
}

// The blocks that the first requests get are touched here and not in the first step; the others, beside
// serving, are somebody else's to touch.
Status make_kv(const RankOptions& options, const model::ModelConfig& config, RankParts& parts) {
  constexpr std::size_t kTouchedBytes = std::size_t{4} << 20;
  KvMemoryLayout layout;
  if (parts.cuda) {
    layout.blocks = blocks_elsewhere(parts.limits);
  } else {
    ASSIGN_OR_RETURN(layout.blocks, model::kv_layout(config, parts.limits.n_blocks, parts.limits.block_size));
  }
  layout.records = scheduler::records_layout(parts.limits);
  ASSIGN_OR_RETURN(KvMemory memory, KvMemory::create({options.rank, options.incarnation}, layout));
  parts.kv_memory = std::make_unique<KvMemory>(std::move(memory));
  parts.kv_memory->populate(BlockId(0),
                            std::min(parts.limits.n_blocks, 1 + kTouchedBytes / layout.blocks.block_bytes()));
  if (!parts.cuda)
    parts.kv_cache = std::make_unique<model::KvCache>(config, layout.blocks, parts.kv_memory->pools());
  parts.kv_peers = std::make_unique<KvPeers>(layout);
  return {};
}

}  // namespace

Result<RankParts> make_rank_parts(const RankOptions& options,
                                  std::function<void(const exchange::Suspicion&)> on_suspect,
                                  const std::function<void()>& on_progress,
                                  std::unique_ptr<device::Stream> stream) {
  RankParts parts;
  ASSIGN_OR_RETURN(const model::ModelConfig config, config_of(options));
  ASSIGN_OR_RETURN(parts.source, open_source(options, config));
  parts.limits = options.limits;
  parts.kv_move_bytes_per_second = options.kv_move_bytes_per_second;
  ASSIGN_OR_RETURN(parts.model, model::Model::load(config, *parts.source, options.limits.max_model_len,
                                                   options.quantization, on_progress));
  RETURN_IF_ERROR(make_pass(options, config, on_progress, parts));
  RETURN_IF_ERROR(make_kv(options, config, parts));
  parts.stream =
      stream ? std::move(stream)
             : std::make_unique<device::Stream>(options.n_threads, options.cores, options.instruction_set);
  if (!parts.cuda)
    parts.workspace =
        std::make_unique<model::Workspace>(config, workspace_limits(options, parts.limits.n_blocks));
  parts.scheduler = std::make_unique<scheduler::Scheduler>(parts.limits, parts.kv_memory->records());
  parts.scheduler->set_weights(parts.model->version());
  parts.budget = std::make_unique<scheduler::StepBudget>(
      options.step_time_budget,
      scheduler::StepBudget::Sizes{parts.limits.max_num_batched_tokens, options.max_ranks});
  RETURN_IF_ERROR(make_exchange(options, config, std::move(on_suspect), parts));
  return parts;
}

// MADV_POPULATE_READ takes as long (docs/performance.md).
std::uint64_t touch(const tensor::Weight& weight) {
  std::uint64_t n_bytes = 0;
  const auto touch_part = [&](const void* begin, std::size_t n) {
    const auto* const bytes = static_cast<const volatile char*>(begin);
    for (std::size_t i = 0; i < n; i += 4096) (void)bytes[i];
    n_bytes += n;
  };
  touch_part(weight.data, weight.bytes());
  if (weight.dtype == tensor::DType::kI8) {
    const auto n_rows = static_cast<std::size_t>(weight.shape[0]);
    touch_part(weight.scales, n_rows * sizeof(float));
    touch_part(weight.sums, n_rows * sizeof(std::int32_t));
  }
  return n_bytes;
}

std::uint64_t prefault(const model::Model& model,
                       const std::function<void(std::uint64_t touched_bytes)>& on_progress) {
  std::uint64_t n_bytes = 0;
  model.for_each_weight([&](const tensor::Weight& weight) {
    n_bytes += touch(weight);
    on_progress(n_bytes);
  });
  return n_bytes;
}

}  // namespace concertina::worker
