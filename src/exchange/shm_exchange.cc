#include "exchange/shm_exchange.h"

#include <fmt/format.h>

#include <utility>

#include "base/check.h"
#include "exchange/shm_exchange_state.h"

namespace concertina::exchange {
namespace {

Status check_config(const ExchangeConfig& config) {
  const auto bad = [](const std::string& what) {
    return fail(ExchangeError::kBadConfig, "exchange: " + what);
  };
  if (config.rank.value() >= config.max_ranks)
    return bad(fmt::format("rank {} is out of range: max_ranks is {}", config.rank, config.max_ranks));
  if (config.max_tokens == 0) return bad("max_tokens is 0, expected 1 or more");
  if (config.top_k == 0) return bad("top_k is 0, expected 1 or more");
  if (config.hidden_size == 0) return bad("hidden_size is 0, expected 1 or more");
  if (config.peer_timeout <= Duration::zero()) return bad("peer_timeout is not positive");
  if (config.runner == nullptr) return bad("nobody to run experts was given");
  if (config.n_moe_layers > 0 && config.n_experts == 0)
    return bad(fmt::format("{} MoE layers with {} experts", config.n_moe_layers, config.n_experts));
  return {};
}

}  // namespace

ShmExchange::State::State(const ExchangeConfig& the_config, const Layout& the_layout,
                          transport::Region the_region, Scratch the_scratch)
    : config(the_config),
      layout(the_layout),
      region(std::move(the_region)),
      doorbell(region.doorbell()),
      builder({config.rank, config.incarnation}, layout, {config.n_moe_layers, config.n_experts},
              config.prefault_tokens),
      scratch(std::move(the_scratch)) {}

Result<std::unique_ptr<ShmExchange>> ShmExchange::create(const ExchangeConfig& config) {
  RETURN_IF_ERROR(check_config(config));
  const Layout layout{config.max_ranks, config.max_tokens, config.top_k, config.hidden_size};
  ASSIGN_OR_RETURN(
      transport::Region region,
      transport::Region::create({config.rank, config.incarnation, layout.numbers()}, layout.body_bytes()));
  for_hot_parts(layout, config.prefault_tokens,
                [&](std::size_t offset, std::size_t n) { region.prefault(offset, n); });
  ASSIGN_OR_RETURN(Scratch scratch, Scratch::make(layout, config.n_experts));
  return std::unique_ptr<ShmExchange>(
      new ShmExchange(std::make_unique<State>(config, layout, std::move(region), std::move(scratch))));
}

ShmExchange::ShmExchange(std::unique_ptr<State> state) : state_(std::move(state)) {}
ShmExchange::~ShmExchange() = default;

int ShmExchange::region_fd() const { return state_->region.fd(); }
void ShmExchange::ring_self() const { state_->doorbell.ring(); }
bool ShmExchange::is_aborted() const { return state_->aborted.load(std::memory_order_acquire); }
void ShmExchange::void_epoch() { state_->is_void = true; }
std::uint64_t ShmExchange::n_exchanges_completed() const {
  return state_->n_completed.load(std::memory_order_relaxed);
}
void ShmExchange::reset_abort() { state_->aborted.store(false, std::memory_order_release); }
const EpochView* ShmExchange::epoch_view() const { return state_->view.get(); }
StepId ShmExchange::next_step() const { return state_->progress.next_step(); }
std::optional<Epoch> ShmExchange::flip_decided() const { return state_->flip; }
std::span<const scheduler::StepLoad> ShmExchange::loads() const { return state_->scratch.loads; }
const ExchangeCounters& ShmExchange::counters() const { return state_->counters; }

void ShmExchange::abort() {
  state_->aborted.store(true, std::memory_order_release);
  ring_self();
}

Result<std::shared_ptr<const EpochView>> ShmExchange::build_epoch(
    const cluster::EpochPlan& plan, std::span<const MemberAddress> addresses,
    std::shared_ptr<const model::ExpertSet> experts) {
  return state_->builder.build(plan, addresses, std::move(experts));
}

std::shared_ptr<const EpochView> ShmExchange::enter_epoch(std::shared_ptr<const EpochView> view) {
  CHECK(view != nullptr);
  state_->progress.enter(view->epoch());
  state_->flip.reset();
  state_->is_void = false;
  state_->counters.peers.clear();
  for (const EpochView::Peer& peer : view->members()) state_->counters.peers.push_back({.rank = peer.rank});
  return std::exchange(state_->view, std::move(view));
}

std::shared_ptr<const EpochView> ShmExchange::leave_epoch() {
  state_->flip.reset();
  return std::exchange(state_->view, nullptr);
}

Work ShmExchange::wait_for_work(std::optional<Time> deadline, const std::function<bool()>& has_own_work) {
  Work work = Work::kDeadline;
  const Position first = state_->progress.next_step_position();
  const auto has_work = [&] {
    if (has_own_work())
      work = Work::kOwnWork;
    else if (state_->view && !state_->is_void && state_->has_peer_started(*state_->view, first))
      work = Work::kPeerStarted;
    return work != Work::kDeadline;
  };
  const transport::WaitResult result = state_->doorbell.wait(has_work, deadline, state_->aborted);
  return result == transport::WaitResult::kAborted ? Work::kAborted : work;
}

bool ShmExchange::peer_started(const EpochView& view) const {
  return state_->has_peer_started(view, {.epoch = view.epoch()});
}

void ShmExchange::begin_step(StepId step, Epoch flip_to, const scheduler::StepLoad& load) {
  CHECK(state_->view != nullptr, "step {} begun outside an epoch", step);
  if (state_->is_void) return;  // its exchanges fail
  state_->progress.begin_step(step);
  state_->flip_to = flip_to;
  state_->load = load;
  state_->flip.reset();
  ++state_->counters.n_steps;
}

Status ShmExchange::serve_step() {
  if (state_->config.n_moe_layers == 0) return run_empty();
  for (std::uint32_t layer = 0; layer < state_->config.n_moe_layers; ++layer)
    RETURN_IF_ERROR(run_layer(MoeLayerId(layer), {}, {}));
  return {};
}

void ShmExchange::begin_layer() { state_->layer_begun = transport::Doorbell::now(); }

Status ShmExchange::run_layer(MoeLayerId layer, const model::RoutedTokens& tokens, std::span<float> out) {
  const ExchangeConfig& config = state_->config;
  const std::uint32_t next = state_->progress.position().exchange;
  CHECK(state_->view != nullptr, "MoE layer {} runs outside an epoch", layer);
  CHECK(layer.value() == next && next < config.n_moe_layers, "MoE layer {} runs where {} of {} comes next",
        layer, next, config.n_moe_layers);
  CHECK(tokens.n_tokens <= config.max_tokens, "{} tokens, at most {}", tokens.n_tokens, config.max_tokens);
  CHECK(tokens.hidden.size() >= tokens.n_tokens * config.hidden_size &&
        out.size() >= tokens.n_tokens * config.hidden_size);
  CHECK(tokens.expert_ids.size() >= tokens.n_tokens * config.top_k &&
        tokens.weights.size() >= tokens.n_tokens * config.top_k);
  return state_->run({.moe_layer = layer, .tokens = tokens, .out = out});
}

Status ShmExchange::run_empty() {
  CHECK(state_->view != nullptr, "an exchange outside an epoch");
  return state_->run({});
}

}  // namespace concertina::exchange
