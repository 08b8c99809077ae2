#pragma once

// For the tests and benchmark of this folder: a small model with random experts, and ranks as threads of one
// process, each with its own exchange memory.

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <numeric>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/random.h"
#include "device/stream.h"
#include "exchange/cpu_exchange.h"
#include "exchange/epoch_builder.h"
#include "exchange/shm/shm_link.h"
#include "kernels/combine.h"
#include "model/expert_runner.h"

namespace concertina::exchange {

struct TestShape {
  std::size_t n_moe_layers = 2, n_experts = 6, top_k = 2, hidden_size = 32, intermediate_size = 24;
  std::size_t max_tokens = 9, max_ranks = 6;
};

class TestModel {
 public:
  TestModel(const TestShape& shape, std::uint64_t seed) : shape(shape), random_(seed) {
    const auto hidden = static_cast<std::int64_t>(shape.hidden_size);
    const auto intermediate = static_cast<std::int64_t>(shape.intermediate_size);
    for (std::size_t layer = 0; layer < shape.n_moe_layers; ++layer)
      for (std::size_t expert = 0; expert < shape.n_experts; ++expert)
        experts_.push_back(
            {matrix(intermediate, hidden), matrix(intermediate, hidden), matrix(hidden, intermediate)});
  }

  const kernels::ExpertWeights& expert(std::size_t layer, ExpertId id) const {
    return experts_[layer * shape.n_experts + id.value()];
  }

  model::ExpertShape expert_shape() const {
    return {shape.n_moe_layers, shape.n_experts, shape.hidden_size, shape.intermediate_size};
  }
  model::ExpertSet::Slots slots_of(RankId rank, const cluster::Placement& placement) const {
    model::ExpertSet::Slots slots(shape.n_moe_layers);
    for (std::size_t layer = 0; layer < shape.n_moe_layers; ++layer)
      if (const auto own = placement.layers[layer].find(rank); own != placement.layers[layer].end())
        for (const ExpertId id : own->second) slots[layer].push_back({id, expert(layer, id)});
    return slots;
  }
  std::shared_ptr<const model::ExpertSet> set_of(model::ExpertSet::Slots slots) const {
    auto set = model::ExpertSet::create(expert_shape(), WeightsVersion(1), std::move(slots));
    CHECK(set.has_value(), "{}", set.error().message());
    return *set;
  }

  const TestShape shape;

 private:
  tensor::Weight matrix(std::int64_t n_rows, std::int64_t n_columns) {
    auto values = std::make_shared<std::vector<float>>(n_rows * n_columns);
    for (float& value : *values) value = 0.3f * random_.normal();
    return {tensor::DType::kF32, {n_rows, n_columns}, values->data(), values};
  }

  Random random_;
  std::vector<kernels::ExpertWeights> experts_;
};

// Every expert on one random member, some on a second one too. Ranks may stay without any.
inline cluster::EpochPlan random_plan(Epoch epoch, const std::vector<std::uint32_t>& ranks,
                                      const TestShape& shape, Random& random) {
  cluster::EpochPlan plan{.epoch = epoch};
  for (const std::uint32_t rank : ranks) plan.members.push_back({RankId(rank), Incarnation(100 + rank)});
  plan.placement.layers.resize(shape.n_moe_layers);
  for (auto& layer : plan.placement.layers)
    for (std::uint32_t expert = 0; expert < shape.n_experts; ++expert) {
      const std::size_t first = random.below(ranks.size());
      layer[RankId(ranks[first])].push_back(ExpertId(expert));
      if (const std::size_t second = random.below(ranks.size()); second != first && random.below(3) == 0)
        layer[RankId(ranks[second])].push_back(ExpertId(expert));
    }
  return plan;
}

// The tokens of one rank in one exchange.
struct TestTokens {
  TestTokens(const TestShape& shape, std::size_t n_tokens, Random& random)
      : n_tokens(n_tokens), hidden(n_tokens * shape.hidden_size) {
    for (float& value : hidden) value = random.normal();
    std::vector<std::uint32_t> experts(shape.n_experts);
    std::iota(experts.begin(), experts.end(), 0);
    for (std::size_t token = 0; token < n_tokens; ++token)
      for (std::size_t j = 0; j < shape.top_k; ++j) {
        std::swap(experts[j], experts[j + random.below(shape.n_experts - j)]);
        expert_ids.push_back(ExpertId(experts[j]));
        weights.push_back(random.uniform());
      }
  }
  model::RoutedTokens routed() const { return {hidden, expert_ids, weights, n_tokens}; }

  std::size_t n_tokens;
  std::vector<float> hidden;
  std::vector<ExpertId> expert_ids;
  std::vector<float> weights;
};

// What must come out, bit for bit: every (token, expert) computed alone, then the sum.
inline std::vector<float> expected_output(const TestModel& model, std::size_t layer,
                                          const TestTokens& tokens) {
  const TestShape& shape = model.shape;
  device::Stream on(1);
  std::vector<float> scratch(shape.intermediate_size), rows(tokens.expert_ids.size() * shape.hidden_size);
  std::vector<const float*> row_addresses;
  for (std::size_t i = 0; i < tokens.expert_ids.size(); ++i) {
    const float* in = tokens.hidden.data() + i / shape.top_k * shape.hidden_size;
    float* out = rows.data() + i * shape.hidden_size;
    const kernels::ExpertRows group{&model.expert(layer, tokens.expert_ids[i]), {&in, 1}, {&out, 1}};
    kernels::expert_mlp({&group, 1}, scratch, on);
    row_addresses.push_back(out);
  }
  std::vector<float> out(tokens.n_tokens * shape.hidden_size);
  if (tokens.n_tokens > 0)
    kernels::combine_rows(row_addresses, tokens.weights, tokens.n_tokens, shape.top_k, shape.hidden_size, out,
                          on);
  return out;
}

// One rank: its link, its steps and its exchange.
class TestRank {
 public:
  TestRank(const TestModel& model, const StepsConfig& config)
      : n_moe_layers_(model.shape.n_moe_layers), self_{config.rank, config.incarnation} {
    const TestShape& shape = model.shape;
    const Layout layout{shape.max_ranks, shape.max_tokens, shape.top_k, shape.hidden_size};
    link_ = get(ShmLink::create({.self = self_, .layout = layout}));
    runner_ = get(
        model::CpuExpertRunner::create(model.expert_shape(), {.max_rows = layout.max_results()}, stream_));
    steps_ = std::make_unique<Steps>(config, *link_);
    epochs_ = std::make_unique<EpochBuilder>(self_, shape.max_ranks,
                                             ModelShape{shape.n_moe_layers, shape.n_experts}, *link_);
    experts_ =
        get(CpuExchange::create({layout, shape.n_moe_layers, shape.n_experts}, *steps_, *link_, *runner_));
  }

  Steps* operator->() { return steps_.get(); }
  CpuExchange& experts() { return *experts_; }
  EpochBuilder& epochs() { return *epochs_; }
  MemberAddress address() const { return {self_, link_->address()}; }

  Status run_layer(MoeLayerId layer, const TestTokens& tokens, std::span<float> out) {
    return experts_->run_layer(layer, tokens.routed(), out);
  }
  // The exchanges of a step without tokens of its own, all of them.
  Status serve_step() {
    if (n_moe_layers_ == 0) return experts_->run_empty();
    for (std::uint32_t layer = 0; layer < n_moe_layers_; ++layer)
      RETURN_IF_ERROR(experts_->run_layer(MoeLayerId(layer), {}, {}));
    return {};
  }

 private:
  template <typename T>
  static T get(Result<T> result) {
    CHECK(result.has_value(), "{}", result.error().message());
    return std::move(*result);
  }

  const std::size_t n_moe_layers_;
  const cluster::Member self_;
  device::Stream stream_{1};
  std::unique_ptr<ShmLink> link_;
  std::unique_ptr<model::ExpertRunner> runner_;
  std::unique_ptr<Steps> steps_;
  std::unique_ptr<EpochBuilder> epochs_;
  std::unique_ptr<CpuExchange> experts_;
};

// Ranks 0..n_ranks-1 of one process. A rank that waits in vain aborts all, so that a broken test ends; with a
// short timeout, steps that are to succeed want kNote, or a busy machine would fail them.
class TestGroup {
 public:
  enum class OnSuspicion : std::uint8_t { kAbort, kNote };
  void set(OnSuspicion on_suspicion) { on_suspicion_ = on_suspicion; }

  TestGroup(const TestModel& model, std::size_t n_ranks, Duration peer_timeout = std::chrono::seconds(60))
      : model_(model) {
    for (std::uint32_t rank = 0; rank < n_ranks; ++rank) {
      ranks_.push_back(std::make_unique<TestRank>(
          model, StepsConfig{.rank = RankId(rank),
                             .incarnation = Incarnation(100 + rank),
                             .max_ranks = model.shape.max_ranks,
                             .peer_timeout = peer_timeout,
                             .on_suspect = [this](const Suspicion& suspicion) { note(suspicion); }}));
      addresses.push_back(ranks_.back()->address());
    }
  }

  TestRank& rank(std::uint32_t rank) { return *ranks_[rank]; }

  std::shared_ptr<const EpochView> view(std::uint32_t rank, const cluster::EpochPlan& plan) {
    auto view = ranks_[rank]->epochs().build(plan, addresses,
                                             model_.set_of(model_.slots_of(RankId(rank), plan.placement)));
    CHECK(view.has_value(), "{}", view.error().message());
    return *view;
  }

  void enter_all(const cluster::EpochPlan& plan) {
    for (const cluster::Member& member : plan.members)
      rank(member.rank.value())->enter_epoch(view(member.rank.value(), plan));
  }

  std::vector<Suspicion> suspicions() {
    std::lock_guard lock(mutex_);
    return suspicions_;
  }

  std::vector<MemberAddress> addresses;

 private:
  void note(const Suspicion& suspicion) {
    std::lock_guard lock(mutex_);
    suspicions_.push_back(suspicion);
    if (on_suspicion_ == OnSuspicion::kNote) return;
    for (const auto& rank : ranks_) (*rank)->abort();
  }

  const TestModel& model_;
  std::vector<std::unique_ptr<TestRank>> ranks_;
  std::mutex mutex_;
  std::vector<Suspicion> suspicions_;
  std::atomic<OnSuspicion> on_suspicion_ = OnSuspicion::kAbort;
};

}  // namespace concertina::exchange
