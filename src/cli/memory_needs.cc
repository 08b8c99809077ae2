#include "cli/memory_needs.h"

#include "base/log.h"
#include "base/memory_limits.h"
#include "cli/choose_device.h"
#include "cli/error.h"
#include "cli/sizes.h"
#include "model/kv_spec.h"
#include "model/step_inputs.h"

namespace concertina::cli {

namespace {

std::uint64_t bytes_of_buffers(const model::ModelConfig& config, const front::FrontOptions& options) {
  const model::LargestLayer layer = model::largest_layer(config);
  const model::MoeSpec experts = config.experts();
  const std::uint64_t hidden = config.hidden_size, heads = 2 * (layer.q_width + layer.kv_width);
  const std::uint64_t a_token = 4 * hidden + heads + 2 * layer.intermediate_size + experts.n_experts;
  const std::uint64_t exchanged = 4 * (1 + experts.top_k) * hidden;  // four banks: activations, result rows
  const std::uint64_t sampling =
      3 * config.vocab_size * options.threads_per_rank;  // kernels::SamplingScratch
  const model::WorkspaceLimits step{.max_tokens = options.max_num_batched_tokens,
                                    .max_sequences = options.max_num_seqs,
                                    .max_model_len = options.max_model_len,
                                    .max_kv_tokens = options.kv_tokens};
  return model::rule_room_bytes(step, config.vocab_size) +
         sizeof(float) * (options.max_num_batched_tokens * (a_token + exchanged) +
                          options.max_num_seqs * config.vocab_size + sampling +
                          options.max_model_len * config.rope.rotary_dim);
}

}  // namespace

front::MemoryNeeds memory_needs(const model::ModelConfig& config, const front::FrontOptions& options) {
  return {.kv_bytes = is_on_gpu(options) ? 0 : options.kv_cache_bytes,
          .weight_bytes = options.rank_weights_bytes,
          .buffer_bytes = bytes_of_buffers(config, options),
          .shared_bytes = options.weights_bytes + options.expert_weights_bytes};
}

namespace {

tl::unexpected<Error> bad_flag(const std::string& message) { return fail(CliError::kBadFlag, message); }

struct KvBlocks {
  std::uint64_t block_bytes;
  std::size_t n_longest;  // of a sequence of full length: else a request that was admitted could never end
};

Status check_given(std::uint64_t kv_bytes, const KvBlocks& blocks, const front::FrontOptions& options) {
  if (kv_bytes / blocks.block_bytes >= blocks.n_longest) return {};
  return bad_flag(
      fmt::format("--kv-cache-memory {} holds {} tokens, but one request may have {} (--max-model-len): "
                  "give {} MiB or more",
                  text_of_bytes(kv_bytes), kv_bytes / blocks.block_bytes * options.block_size,
                  options.max_model_len, (blocks.n_longest * blocks.block_bytes + (1 << 20) - 1) >> 20));
}

// A GPU's rank knows what its memory leaves, and checks it itself.
Status choose_kv(const model::ModelConfig& config, std::optional<std::uint64_t> given,
                 const std::vector<MemoryLimit>& limits, front::FrontOptions& options) {
  options.kv_cache_bytes = given.value_or(0);
  if (is_on_gpu(options)) return {};
  const KvBlocks blocks{model::kv_spec(config).bytes_per_block(options.block_size),
                        (options.max_model_len + options.block_size - 1) / options.block_size};
  if (given) {
    RETURN_IF_ERROR(check_given(*given, blocks, options));
  } else {
    const auto chosen = front::default_kv_bytes(
        {blocks.n_longest * blocks.block_bytes, options.max_num_seqs, options.cluster.max_size},
        memory_needs(config, options), options.cluster.initial_size, limits);
    if (!chosen) return bad_flag(chosen.error().message());
    options.kv_cache_bytes = *chosen;
  }
  options.kv_tokens = options.kv_cache_bytes / blocks.block_bytes * options.block_size;
  spdlog::info("KV cache of a rank: {} MiB, {} tokens (--kv-cache-memory)", options.kv_cache_bytes >> 20,
               options.kv_tokens);
  return {};
}

}  // namespace

Status plan_memory(const std::string& model, std::optional<std::uint64_t> kv_bytes,
                   front::FrontOptions& options) {
  ASSIGN_OR_RETURN(const model::ModelConfig config, model::read_config(model));
  const std::vector<MemoryLimit> limits = read_memory_limits();
  RETURN_IF_ERROR(choose_kv(config, kv_bytes, limits, options));
  options.memory = memory_needs(config, options);
  const Status fits = front::check_memory(options.memory, options.cluster.initial_size, limits);
  return fits ? Status{} : bad_flag(fits.error().message());
}

}  // namespace concertina::cli
