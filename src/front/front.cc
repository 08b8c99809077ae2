#include "front/front.h"

#include <algorithm>
#include <chrono>

#include "base/log.h"
#include "base/memory_limits.h"
#include "transport/control_channel.h"

namespace concertina::front {

namespace {

// Of requests on the way to a rank: some 50,000 tokens, which take half a millisecond to write. With more,
// one client's 128 choices of a long prompt would hold up every stream.
constexpr std::size_t kUnreadBytes = 256 << 10;

// Never used twice, over restarts too: the wall clock at the start, then counted up.
Incarnation first_incarnation() {
  return Incarnation(static_cast<std::uint64_t>(std::chrono::system_clock::now().time_since_epoch().count()));
}

Error changed_under_ranks(const std::string& model_path, const std::string& what) {
  return Error(
      FrontError::kCheckpointChanged,
      fmt::format("{}: the checkpoint's files changed while ranks read them: {}. Restart the server to serve "
                  "what is there now",
                  model_path, what));
}

deployment::Config config_of(const FrontOptions& options) {
  deployment::Config config{.cluster = options.cluster,
                            .capacity = {.max_num_seqs = options.max_num_seqs,
                                         .kv_tokens = options.kv_tokens,
                                         .channel_bytes = kUnreadBytes},
                            .rebalance = options.rebalance};
  config.cluster.peer_timeout = std::chrono::milliseconds(options.peer_timeout_ms);
  config.cluster.leave_delay = std::chrono::milliseconds(300);
  return config;
}

}  // namespace

Front::Front(transport::EventLoop& loop, FrontOptions options, ModelInfo model,
             launcher::StartProcess start_process, std::unique_ptr<StateStore> state)
    : loop_(loop),
      options_(std::move(options)),
      model_(std::move(model)),
      state_(std::move(state)),
      start_process_(std::move(start_process)),
      deployment_(config_of(options_), first_incarnation()),
      shutdown_(options_.shutdown_timeout),
      coordinator_timer_(loop),
      shutdown_timer_(loop),
      look_timer_(loop) {}

Front::~Front() = default;

void Front::start(std::function<void()> on_ready, std::function<void(const Error&)> on_fatal) {
  on_ready_ = std::move(on_ready);
  on_fatal_ = std::move(on_fatal);
  weights_loaded_bytes_ = options_.weights_bytes;
  if (state_ != nullptr) {
    if (const Status saved = state_->save_form(options_.form); !saved)
      spdlog::error("{}", saved.error().message());
  }
  deployment_.start(loop_.now(), effects_);
  carry_out();
}

Status Front::admits() const {
  if (!shutdown_.is_serving()) return fail(FrontError::kShuttingDown, "the server is shutting down");
  if (!checkpoint_change_.empty() && options_.weight_loading == FrontOptions::WeightLoading::kLazy)
    return fail(changed_under_ranks(options_.model_path, checkpoint_change_));
  if (coordinator().has_served()) return {};
  return fail(FrontError::kNotReady, "the server is starting: no epoch is active yet");
}

void Front::on_checkpoint_changed(const std::string& what) {
  if (!checkpoint_change_.empty()) return;
  checkpoint_change_ = what;
  if (options_.weight_loading == FrontOptions::WeightLoading::kEager) {
    spdlog::warn(
        "{}: the checkpoint's files are not those that were loaded: {}. Nothing changes for this server, "
        "also "
        "not for ranks that start later: it goes on with what it loaded until it is started again",
        options_.model_path, what);
    return;
  }
  const Error error = changed_under_ranks(options_.model_path, what);
  spdlog::error("{}; {} requests end, and no more are taken", error.message(), journal().n_live());
  fail_all_requests(error);
}

void Front::on_texts_changed(const std::string& what) {
  if (!texts_change_.empty()) return;
  texts_change_ = what;
  spdlog::warn(
      "{}: files that were read at the start are others by now: {}. This server goes on with the tokenizer, "
      "the "
      "chat template and the defaults that it read, until it is started again",
      options_.model_path, what);
}

Status Front::ready() const {
  RETURN_IF_ERROR(admits());
  if (coordinator().ready()) return {};
  return fail(FrontError::kNotReady, "no epoch serves: ranks were lost and are being started again");
}

}  // namespace concertina::front
