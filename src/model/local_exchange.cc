#include "model/local_exchange.h"

namespace concertina::model {

Result<std::unique_ptr<LocalExchange>> LocalExchange::create(const Model& model, device::Stream& on) {
  const ModelConfig& config = model.config();
  ExpertSet::Slots slots(config.moe_layers.size());
  for (std::uint32_t layer = 0; layer < slots.size(); ++layer) {
    for (std::uint32_t e = 0; e < config.experts().n_experts; ++e) {
      ASSIGN_OR_RETURN(kernels::ExpertWeights weights, model.load_expert(MoeLayerId(layer), ExpertId(e)));
      slots[layer].push_back({ExpertId(e), std::move(weights)});
    }
  }
  ASSIGN_OR_RETURN(auto experts, ExpertSet::create(expert_shape(config), model.version(), std::move(slots)));
  return std::unique_ptr<LocalExchange>(new LocalExchange(config, on, std::move(experts)));
}

Status LocalExchange::run_layer(MoeLayerId layer, const RoutedTokens& tokens, std::span<float> out) {
  if (tokens.n_tokens == 0) return {};
  const MoeSpec moe = config_.experts();
  const std::size_t n_rows = tokens.n_tokens * moe.top_k, hidden_size = config_.hidden_size;
  std::vector<float> results(n_rows * hidden_size);
  std::vector<const float*> in, rows;
  std::vector<float*> to;
  std::vector<std::uint32_t> begin = {0};
  for (std::uint32_t expert = 0; expert < moe.n_experts; ++expert) {  // each lies in the slot of its number
    for (std::size_t row = 0; row < n_rows; ++row) {
      if (tokens.expert_ids[row].value() != expert) continue;
      in.push_back(tokens.hidden.data() + row / moe.top_k * hidden_size);
      to.push_back(results.data() + row * hidden_size);
    }
    begin.push_back(static_cast<std::uint32_t>(in.size()));
  }
  for (std::size_t row = 0; row < n_rows; ++row) rows.push_back(results.data() + row * hidden_size);
  ASSIGN_OR_RETURN(const auto runner,
                   CpuExpertRunner::create(expert_shape(config_), {.max_rows = n_rows}, on_));
  runner->run(*experts_, layer, {begin, in, to});
  runner->combine(rows, tokens.weights.first(n_rows), tokens.n_tokens, out);
  return {};
}

}  // namespace concertina::model
