#pragma once

#include <vector>

#include "base/thread_pool.h"
#include "model/expert_exchange.h"
#include "model/model.h"

namespace concertina::model {

// All experts in this process: the reference that every other exchange must equal bit for bit. Allocates as
// it goes.
class LocalExchange : public ExpertExchange {
 public:
  static Result<std::unique_ptr<LocalExchange>> create(const Model& model, ThreadPool& pool);

  Status run_layer(MoeLayerId layer, const RoutedTokens& tokens, std::span<float> out) override;
  Status run_empty() override { return {}; }

 private:
  LocalExchange(const ModelConfig& config, ThreadPool& pool) : config_(config), pool_(pool) {}

  const ModelConfig& config_;
  ThreadPool& pool_;
  std::vector<std::vector<kernels::ExpertWeights>> experts_;  // [n_moe_layers][n_experts]
};

}  // namespace concertina::model
