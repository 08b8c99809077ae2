#include "worker/rank_parts.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/memory_limits.h"
#include "checkpoint/config_files.h"
#include "checkpoint/dummy_weights.h"
#include "checkpoint/fingerprint.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/weight_arena.h"

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

Result<std::unique_ptr<exchange::ShmExchange>> make_exchange(
    const RankOptions& options, const model::ModelConfig& config, ThreadPool& pool,
    std::function<void(const exchange::Suspicion&)> on_suspect) {
  exchange::ExchangeConfig exchange{.rank = options.rank, .incarnation = options.incarnation};
  exchange.max_ranks = options.max_ranks;
  exchange.max_tokens = options.limits.max_num_batched_tokens;
  exchange.top_k = std::max<std::size_t>(1, config.top_k);  // a dense model has none
  exchange.hidden_size = config.hidden_size;
  exchange.intermediate_size = config.moe_intermediate_size;
  exchange.n_moe_layers = config.n_moe_layers;
  exchange.n_experts = config.n_experts;
  exchange.activations = options.activations;
  exchange.prefault_tokens = std::min<std::size_t>(128, options.limits.max_num_batched_tokens);
  exchange.peer_timeout = options.peer_timeout;
  exchange.pool = &pool;
  exchange.on_suspect = std::move(on_suspect);
  return exchange::ShmExchange::create(exchange);
}

// Writes into the first KV blocks of each layer, which the first requests get: their pages are zeroed here
// and not in the first step. The rest of the cache appears when it is used.
void warm(model::KvCache& kv_cache, const model::ModelConfig& config) {
  constexpr std::size_t kFloats = std::size_t{128} << 10, kStep = 1024;  // a page
  const std::size_t n_layer_floats = kernels::paged_kv_floats(kv_cache.n_blocks(), kv_cache.block_size(),
                                                              config.n_kv_heads, config.head_dim);
  for (std::size_t layer = 0; layer < config.n_layers; ++layer) {
    float* const data = kv_cache.layer(layer).data;
    for (std::size_t i = 0; i < std::min(kFloats, n_layer_floats); i += kStep) data[i] = 0;
  }
}

// Reads one byte of every page: the kernel maps it, from the disk if need be. MADV_POPULATE_READ takes as
// long (docs/performance.md).
void touch(const tensor::Weight& weight) {
  const auto* const bytes = static_cast<const volatile char*>(weight.data);
  for (std::size_t i = 0; i < weight.bytes(); i += 4096) (void)bytes[i];
}

const exchange::LocalExpert* find_held(const exchange::EpochView* held, MoeLayerId layer, ExpertId expert) {
  if (held == nullptr) return nullptr;
  const std::uint32_t slot = held->slot(layer, expert.value());
  return slot == exchange::EpochView::kNoSlot ? nullptr : &held->experts(layer)[slot];
}

}  // namespace

Result<RankParts> make_rank_parts(const RankOptions& options,
                                  std::function<void(const exchange::Suspicion&)> on_suspect,
                                  const std::function<void()>& on_progress,
                                  std::unique_ptr<ThreadPool> pool) {
  RankParts parts;
  ASSIGN_OR_RETURN(const model::ModelConfig config, config_of(options));
  ASSIGN_OR_RETURN(parts.source, open_source(options, config));
  parts.limits = options.limits;
  const std::size_t block_bytes = model::KvCache::bytes_per_block(config, options.limits.block_size);
  parts.limits.n_blocks = options.kv_cache_bytes / block_bytes;
  if (parts.limits.n_blocks == 0) {
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
  ASSIGN_OR_RETURN(parts.kv_cache,
                   model::KvCache::create(config, parts.limits.n_blocks, options.limits.block_size));
  warm(*parts.kv_cache, config);
  ASSIGN_OR_RETURN(parts.model, model::Model::load(config, *parts.source, options.limits.max_model_len,
                                                   options.quantization, on_progress));
  parts.pool = pool ? std::move(pool) : std::make_unique<ThreadPool>(options.n_threads, options.cores);
  parts.workspace = std::make_unique<model::Workspace>(
      config,
      model::WorkspaceLimits{.max_tokens = options.limits.max_num_batched_tokens,
                             .max_sequences = options.limits.max_num_seqs + options.limits.max_num_replays,
                             .max_model_len = options.limits.max_model_len,
                             .n_threads = options.n_threads,
                             .activations = options.activations});
  parts.scheduler = std::make_unique<scheduler::Scheduler>(parts.limits);
  parts.budget = std::make_unique<scheduler::StepBudget>(
      options.step_time_budget,
      scheduler::StepBudget::Sizes{parts.limits.max_num_batched_tokens, options.max_ranks});
  ASSIGN_OR_RETURN(parts.exchange, make_exchange(options, config, *parts.pool, std::move(on_suspect)));
  return parts;
}

void prefault(const model::Model& model, const std::function<void()>& on_progress) {
  const auto touch_one = [&](const tensor::Weight& weight) {
    if (weight) touch(weight);
    on_progress();
  };
  for (std::size_t i = 0; i < model.config().n_layers; ++i) {
    const model::LayerWeights& layer = model.layer(i);
    const model::AttentionWeights& attention = layer.attention;
    for (const tensor::Weight* weight : {&attention.q, &attention.k, &attention.v, &attention.o,
                                         &layer.router, &layer.mlp.gate, &layer.mlp.up, &layer.mlp.down})
      touch_one(*weight);
  }
  touch_one(model.embedding());
  touch_one(model.head());
}

Result<PreparedEpoch> prepare_epoch(const RankParts& parts, RankId rank, const cluster::EpochPlan& plan,
                                    std::span<const exchange::MemberAddress> addresses,
                                    const exchange::EpochView* held, const OnLoadProgress& on_progress) {
  PreparedEpoch prepared;
  exchange::LocalExperts experts(plan.placement.layers.size());
  std::size_t n_total = 0, n_done = 0;
  for (const auto& layer : plan.placement.layers) n_total += layer.contains(rank) ? layer.at(rank).size() : 0;
  for (std::size_t layer = 0; layer < experts.size(); ++layer) {
    const MoeLayerId moe_layer(static_cast<std::uint32_t>(layer));
    const auto slots = plan.placement.layers[layer].find(rank);
    if (slots == plan.placement.layers[layer].end()) continue;
    for (const ExpertId expert : slots->second) {
      ++n_done;
      if (const exchange::LocalExpert* known = find_held(held, moe_layer, expert)) {
        experts[layer].push_back(*known);
        continue;
      }
      ASSIGN_OR_RETURN(kernels::ExpertWeights weights, parts.model->load_expert(moe_layer, expert));
      for (const tensor::Weight* weight : {&weights.gate, &weights.up, &weights.down}) touch(*weight);
      const std::size_t expert_bytes = model::bytes_of(weights);
      prepared.moved_bytes += expert_bytes;
      if (on_progress && on_progress(n_done * expert_bytes, n_total * expert_bytes) == KeepLoading::kNo)
        return fail(WorkerError::kLoadCancelled, fmt::format("epoch {} is obsolete", plan.epoch));
      experts[layer].push_back({expert, std::move(weights)});
    }
  }
  ASSIGN_OR_RETURN(prepared.view, parts.exchange->build_epoch(plan, addresses, std::move(experts)));
  return prepared;
}

}  // namespace concertina::worker
