#pragma once

#include "base/thread_pool.h"
#include "model/expert_exchange.h"
#include "model/expert_runner.h"
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
  LocalExchange(const ModelConfig& config, ThreadPool& pool, std::shared_ptr<const ExpertSet> experts)
      : config_(config), pool_(pool), experts_(std::move(experts)) {}

  const ModelConfig& config_;
  ThreadPool& pool_;
  const std::shared_ptr<const ExpertSet> experts_;
};

}  // namespace concertina::model
