#include "bench/gpu/floors.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

namespace concertina::bench::gpu {

namespace {
constexpr double kBf16Bytes = 2;
double number(std::size_t n) { return static_cast<double>(n); }
}  // namespace

double Work::floor_us(const CardRates& rates) const {
  const double of_memory = bytes / (rates.copy_gb_s * 1e3);
  return rates.matrix_tflop_s > 0 ? std::max(of_memory, flop / (rates.matrix_tflop_s * 1e6)) : of_memory;
}

std::string Load::name() const {
  return n_new == 1 ? fmt::format("decode {} at {}", n_sequences, n_seen)
                    : fmt::format("prefill {} x {}", n_sequences, n_new);
}

model::ModelConfig qwen3_30b(std::size_t n_layers) {
  const nlohmann::json config = {{"architectures", {"Qwen3MoeForCausalLM"}},
                                 {"model_type", "qwen3_moe"},
                                 {"attention_bias", false},
                                 {"decoder_sparse_step", 1},
                                 {"dtype", "bfloat16"},
                                 {"eos_token_id", 151645},
                                 {"head_dim", 128},
                                 {"hidden_act", "silu"},
                                 {"hidden_size", 2048},
                                 {"intermediate_size", 6144},
                                 {"max_position_embeddings", 40960},
                                 {"mlp_only_layers", nlohmann::json::array()},
                                 {"moe_intermediate_size", 768},
                                 {"norm_topk_prob", true},
                                 {"num_attention_heads", 32},
                                 {"num_experts", 128},
                                 {"num_experts_per_tok", 8},
                                 {"num_hidden_layers", n_layers},
                                 {"num_key_value_heads", 4},
                                 {"rms_norm_eps", 1e-06},
                                 {"rope_theta", 1000000.0},
                                 {"tie_word_embeddings", false},
                                 {"vocab_size", 151936}};
  return model::parse_config(config, "Qwen3-30B-A3B").value();
}

Work linear_work(std::size_t n_rows, std::size_t n_out, std::size_t n_in) {
  return {number(n_out) * number(n_in) * kBf16Bytes, 2 * number(n_rows) * number(n_out) * number(n_in)};
}

Work attention_work(const model::GqaSpec& spec, const Load& load) {
  // Keys and values of all that is seen, once; a token's scores and weighted values, causal.
  const double n_seen = number(load.n_seen), n_new = number(load.n_new);
  const double n_pairs = n_new * (n_seen - n_new) + n_new * (n_new + 1) / 2;
  return {number(load.n_sequences) * n_seen * 2 * number(spec.kv_width()) * kBf16Bytes,
          number(load.n_sequences) * n_pairs * 4 * number(spec.q_width())};
}

Work experts_work(const model::ModelConfig& config, std::size_t n_rows, double n_distinct) {
  const model::MoeSpec moe = config.experts();
  const double expert = 3 * number(moe.intermediate_size) * number(config.hidden_size);
  return {n_distinct * expert * kBf16Bytes, number(n_rows) * number(moe.top_k) * expert * 2};
}

Work step_work(const model::ModelConfig& config, const Load& load, double n_distinct) {
  const std::size_t hidden = config.hidden_size, n = load.n_rows();
  const auto& spec = std::get<model::GqaSpec>(config.layers.front().attention);
  const Work layer = linear_work(n, spec.q_width() + 2 * spec.kv_width(), hidden) +
                     linear_work(n, hidden, spec.q_width()) + attention_work(spec, load) +
                     linear_work(n, config.experts().n_experts, hidden) + experts_work(config, n, n_distinct);
  return layer * number(config.layers.size()) + linear_work(load.n_sequences, config.vocab_size, hidden);
}

}  // namespace concertina::bench::gpu
