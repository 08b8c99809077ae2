#include "bench/limits.h"

#include <algorithm>
#include <cmath>

namespace concertina::bench {

namespace {

struct Shape {
  double shared = 0;  // parameters that every token uses, without head and embedding
  double expert = 0;  // of one expert of one layer
  double head = 0;
  double attention = 0;  // operations of one position against another, in all layers
};

void add(Shape& shape, double hidden, const model::GqaSpec& spec) {
  shape.shared += hidden * static_cast<double>(2 * (spec.q_width() + spec.kv_width()));
  shape.attention += 4 * static_cast<double>(spec.q_width());
}

Shape shape_of(const model::ModelConfig& config) {
  const auto hidden = static_cast<double>(config.hidden_size);
  Shape shape;
  for (const model::LayerSpec& layer : config.layers) {
    std::visit([&](const auto& attention) { add(shape, hidden, attention); }, layer.attention);
    const model::DenseSpec* const dense = layer.dense();
    shape.shared +=
        hidden * static_cast<double>(dense ? 3 * dense->intermediate_size : layer.moe()->n_experts);
  }
  shape.expert = 3 * hidden * static_cast<double>(config.experts().intermediate_size);
  shape.head = hidden * static_cast<double>(config.vocab_size);
  return shape;
}

// A processor without products in BF16 does them as float32's.
double rate_of(const MachineRates& rates, kernels::RowForm rows) {
  if (rows == kernels::RowForm::kInt8) return rates.vnni_gop_s;
  return rows == kernels::RowForm::kBfloat16 && rates.bf16_gflop_s > 0 ? rates.bf16_gflop_s
                                                                       : rates.fma_gflop_s;
}

// Seconds of one step with n tokens, of which n_logits want logits.
double step_s(const LimitOf& of, double n, double n_logits, double attention_operations) {
  const model::ModelConfig& config = of.config;
  const Shape shape = shape_of(config);
  const double n_moe = static_cast<double>(config.moe_layers.size()),
               n_experts = static_cast<double>(config.experts().n_experts),
               top_k = static_cast<double>(config.experts().top_k);
  const double share = n_moe > 0 ? top_k / n_experts : 0;
  const double n_touched = n_experts * (1 - std::pow(1 - share, n));
  const double parameters =
      static_cast<double>(of.n_ranks) * (shape.shared + shape.head) + n_moe * n_touched * shape.expert;
  const double weight_bytes =
      of.rows == kernels::RowForm::kInt8 ? 1 : static_cast<double>(tensor::element_bytes(config.dtype));
  const double products = 2 * (n * (shape.shared + n_moe * top_k * shape.expert) + n_logits * shape.head);
  const double rate = rate_of(of.rates, of.rows);
  const auto seconds = [](double work, double g_per_s) { return g_per_s > 0 ? work / (g_per_s * 1e9) : 0; };
  const double operations_s = seconds(products, rate) + seconds(attention_operations, of.rates.fma_gflop_s);
  return std::max(parameters * weight_bytes / (of.rates.read_gb_s * 1e9), operations_s);
}

}  // namespace

double decode_limit(const LimitOf& of, std::size_t n_sequences) {
  const auto n = static_cast<double>(n_sequences);
  return n / step_s(of, n, n, 0);
}

double prefill_limit(const LimitOf& of, std::size_t n_tokens) {
  const auto n = static_cast<double>(n_tokens), n_ranks = static_cast<double>(of.n_ranks);
  const double attention = shape_of(of.config).attention * n * (n + 1) / 2;
  return n_ranks * n / step_s(of, n_ranks * n, n_ranks, n_ranks * attention);
}

}  // namespace concertina::bench
