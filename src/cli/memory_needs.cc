#include "cli/memory_needs.h"

#include "base/memory_limits.h"
#include "cli/error.h"

namespace concertina::cli {

namespace {

// Parameters: what every rank holds (products of attention, dense MLPs and head; then tables and norms), and
// experts of all layers.
struct Counts {
  std::uint64_t products = 0, others = 0, experts = 0;
};

Counts count_parameters(const model::ModelConfig& config) {
  Counts counts;
  const std::uint64_t hidden = config.hidden_size, table = config.vocab_size * hidden;
  const std::uint64_t heads = (2 * config.n_heads + 2 * config.n_kv_heads) * config.head_dim;
  const bool has_head = config.head == model::ModelConfig::Head::kOwn;
  counts.products = config.n_layers * heads * hidden + (has_head ? table : 0) +
                    (config.n_layers - config.n_moe_layers) * 3 * config.intermediate_size * hidden;
  counts.others =
      table + config.n_moe_layers * config.n_experts * hidden + (2 * config.n_layers + 1) * hidden;
  counts.experts = config.n_moe_layers * config.n_experts * 3 * config.moe_intermediate_size * hidden;
  return counts;
}

std::uint64_t bytes_of_buffers(const model::ModelConfig& config, const front::FrontOptions& options) {
  const std::uint64_t hidden = config.hidden_size,
                      heads = (2 * config.n_heads + 2 * config.n_kv_heads) * config.head_dim;
  const std::uint64_t a_token = 4 * hidden + heads + 2 * config.intermediate_size + config.n_experts;
  const std::uint64_t exchanged = 4 * (1 + config.top_k) * hidden;  // four banks: activations, result rows
  return sizeof(float) * (options.max_num_batched_tokens * (a_token + exchanged) +
                          options.max_num_seqs * config.vocab_size + options.max_model_len * config.head_dim);
}

}  // namespace

front::MemoryNeeds memory_needs(const model::ModelConfig& config, const front::FrontOptions& options) {
  const Counts counts = count_parameters(config);
  const std::uint64_t width = config.dtype == tensor::DType::kF32 ? 4 : 2;
  front::MemoryNeeds needs{.kv_bytes = options.kv_cache_bytes,
                           .buffer_bytes = bytes_of_buffers(config, options)};
  if (options.form.quantization == "int8") {
    needs.weight_bytes = counts.products;
    needs.shared_bytes = counts.experts;
  } else if (options.load_format == "dummy") {
    needs.weight_bytes = width * (counts.products + counts.others);
    needs.shared_bytes = width * counts.experts;
  }
  return needs;
}

Status plan_memory(const std::string& model, front::FrontOptions& options) {
  ASSIGN_OR_RETURN(const model::ModelConfig config, model::read_config(model));
  options.memory = memory_needs(config, options);
  const Status fits = front::check_memory(options.memory, options.initial_size, read_memory_limits());
  return fits ? Status{} : fail(CliError::kBadFlag, fits.error().message());
}

}  // namespace concertina::cli
