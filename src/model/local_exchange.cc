#include "model/local_exchange.h"

#include <algorithm>

#include "kernels/combine.h"

namespace concertina::model {

Result<std::unique_ptr<LocalExchange>> LocalExchange::create(const Model& model, ThreadPool& pool) {
  std::unique_ptr<LocalExchange> exchange(new LocalExchange(model.config(), pool));
  exchange->experts_.resize(model.config().n_moe_layers);
  for (std::uint32_t layer = 0; layer < model.config().n_moe_layers; ++layer) {
    for (std::uint32_t e = 0; e < model.config().n_experts; ++e) {
      ASSIGN_OR_RETURN(kernels::ExpertWeights expert, model.load_expert(MoeLayerId(layer), ExpertId(e)));
      exchange->experts_[layer].push_back(std::move(expert));
    }
  }
  return exchange;
}

Status LocalExchange::run_layer(MoeLayerId layer, const RoutedTokens& tokens, std::span<float> out) {
  const std::size_t n_rows = tokens.n_tokens * config_.top_k, hidden_size = config_.hidden_size;
  std::vector<float> results(n_rows * hidden_size), scratch(n_rows * config_.moe_intermediate_size);
  std::vector<const float*> rows(n_rows);
  std::vector<std::vector<const float*>> in(config_.n_experts);
  std::vector<std::vector<float*>> to(config_.n_experts);
  for (std::size_t row = 0; row < n_rows; ++row) {
    const std::uint32_t expert = tokens.expert_ids[row].value();
    in[expert].push_back(tokens.hidden.data() + row / config_.top_k * hidden_size);
    to[expert].push_back(results.data() + row * hidden_size);
    rows[row] = to[expert].back();
  }
  std::vector<kernels::ExpertRows> groups;
  for (std::size_t e = 0; e < config_.n_experts; ++e) {
    if (!in[e].empty()) groups.push_back({&experts_[layer.value()][e], in[e], to[e]});
  }
  std::vector<std::uint8_t> bytes(n_rows * std::max(hidden_size, config_.moe_intermediate_size));
  std::vector<float> scales(n_rows);
  kernels::expert_mlp(groups, scratch, pool_, {bytes, scales});
  kernels::combine_rows(rows, tokens.weights, tokens.n_tokens, config_.top_k, hidden_size, out);
  return {};
}

}  // namespace concertina::model
