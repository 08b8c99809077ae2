#include "cli/memory_needs.h"

#include "base/memory_limits.h"
#include "cli/choose_device.h"
#include "cli/error.h"
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

Status plan_memory(const std::string& model, front::FrontOptions& options) {
  ASSIGN_OR_RETURN(const model::ModelConfig config, model::read_config(model));
  options.memory = memory_needs(config, options);
  const Status fits = front::check_memory(options.memory, options.cluster.initial_size, read_memory_limits());
  return fits ? Status{} : fail(CliError::kBadFlag, fits.error().message());
}

}  // namespace concertina::cli
