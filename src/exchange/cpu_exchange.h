#pragma once

#include <memory>
#include <optional>
#include <span>

#include "exchange/protocol/layout.h"
#include "exchange/scratch.h"
#include "exchange/steps.h"
#include "model/expert_exchange.h"
#include "model/expert_runner.h"

namespace concertina::exchange {

struct CpuExchangeConfig {
  Layout layout;                 // of the link's bodies; top_k is 1 for a dense model
  std::size_t n_moe_layers = 0;  // 0: a dense model
  std::size_t n_experts = 0;
};

// Dispatch and combine for one rank whose rows lie where the processor reads them: through a link's bodies,
// in the steps that Steps counts. Step thread. Takes all its memory at creation.
class CpuExchange final : public model::ExpertExchange {
 public:
  // All three outlive it. kBadConfig if the link carries headers alone.
  static Result<std::unique_ptr<CpuExchange>> create(const CpuExchangeConfig& config, Steps& steps,
                                                     const Link& link, model::ExpertRunner& runner);

  void begin_layer() override;
  Status run_layer(MoeLayerId layer, const model::RoutedTokens& tokens, std::span<float> out) override;
  Status run_empty() override;

 private:
  // Tokens of one exchange; a layer that is absent stands for the empty exchange of a dense model.
  struct Exchange {
    std::optional<MoeLayerId> layer;
    model::RoutedTokens tokens;
    std::span<float> out;  // [n_tokens, hidden_size]
  };

  CpuExchange(const CpuExchangeConfig& config, Steps& steps, const Link& link, model::ExpertRunner& runner);

  // One exchange, in the order of its parts.
  Status run(const Exchange& exchange);
  void write_dispatch(const Exchange& exchange);
  void count_entries(const Exchange& exchange);
  void write_entries(const Exchange& exchange);
  Status compute(const Exchange& exchange);
  Status check_dispatch(std::size_t member) const;
  Status read_entries(const Exchange& exchange);
  model::SlotRows group_rows(const Exchange& exchange);
  void write_results();
  Status check_results() const;
  void combine(const Exchange& exchange);

  const EpochView& view() const { return *steps_.epoch_view(); }
  std::size_t n_members() const { return view().members().size(); }
  std::size_t bank() const { return steps_.bank(); }
  const std::byte* body_of(std::size_t member) const;  // this rank's own for itself

  const CpuExchangeConfig config_;
  const Layout& layout_ = config_.layout;
  Steps& steps_;
  std::byte* const body_;  // this rank's own
  model::ExpertRunner& runner_;
  std::optional<Time> layer_begun_;  // routing since then
  Scratch scratch_;
};

}  // namespace concertina::exchange
