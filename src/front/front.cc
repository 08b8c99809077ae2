#include "front/front.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>

#include "base/log.h"
#include "base/memory_limits.h"
#include "transport/control_channel.h"

namespace concertina::front {

namespace {

// Of requests on the way to a rank: some 50,000 tokens, which take half a millisecond to write. With more,
// one client's 128 choices of a long prompt would hold up every stream.
constexpr std::size_t kUnreadBytes = 256 << 10;
constexpr Duration kStopRanksTimeout = std::chrono::seconds(5), kReapTimeout = std::chrono::seconds(2);

// Never used twice, over restarts too: the wall clock at the start, then counted up.
Incarnation first_incarnation() {
  return Incarnation(static_cast<std::uint64_t>(std::chrono::system_clock::now().time_since_epoch().count()));
}

std::string host_name() {
  std::array<char, 256> name{};
  return gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "localhost";
}

// The coordinator's reasons in the words that the server turns into status codes.
Error to_front_error(const Error& error) {
  using cluster::ClusterError;
  const std::pair<ClusterError, FrontError> codes[] = {
      {ClusterError::kInvalidSize, FrontError::kInvalidSize},
      {ClusterError::kInvalidRetire, FrontError::kInvalidRetire},
      {ClusterError::kOperationRunning, FrontError::kOperationRunning},
      {ClusterError::kIdTaken, FrontError::kIdTaken},
      {ClusterError::kShuttingDown, FrontError::kShuttingDown},
  };
  for (const auto& [from, to] : codes) {
    if (error.is(from)) return Error(to, error.message());
  }
  return Error(FrontError::kNotReady, error.message());
}

Error changed_under_ranks(const std::string& model_path, const std::string& what) {
  return Error(
      FrontError::kCheckpointChanged,
      fmt::format("{}: the checkpoint's files changed while ranks read them: {}. Restart the server to serve "
                  "what is there now",
                  model_path, what));
}

}  // namespace

Front::Front(transport::EventLoop& loop, FrontOptions options, ModelInfo model,
             std::unique_ptr<StateStore> state)
    : loop_(loop),
      options_(std::move(options)),
      model_(std::move(model)),
      state_(std::move(state)),
      coordinator_(
          cluster::CoordinatorConfig{
              .n_moe_layers = options_.n_moe_layers,
              .n_experts = options_.n_experts,
              .max_size = options_.max_size,
              .initial_size = options_.initial_size,
              .min_size = options_.min_size,
              .peer_timeout = std::chrono::milliseconds(options_.peer_timeout_ms),
              .leave_delay = std::chrono::milliseconds(300),
              .group_lost_timeout = options_.group_lost_timeout,
              .replace_failed = options_.replace_failed == FrontOptions::ReplaceFailed::kYes
                                    ? cluster::CoordinatorConfig::ReplaceFailed::kYes
                                    : cluster::CoordinatorConfig::ReplaceFailed::kNo},
          first_incarnation()),
      journal_({.max_num_seqs = options_.max_num_seqs,
                .kv_tokens = options_.kv_tokens,
                .channel_bytes = kUnreadBytes}),
      coordinator_timer_(loop),
      shutdown_timer_(loop) {}

Front::~Front() = default;

void Front::start(std::function<void()> on_ready, std::function<void(const Error&)> on_fatal) {
  on_ready_ = std::move(on_ready);
  on_fatal_ = std::move(on_fatal);
  if (state_ != nullptr) {
    const auto kept = state_->load(loop_.now());
    if (!kept) spdlog::error("{}: serving goes on without the records", kept.error().message());
    for (const cluster::Operation& operation : kept ? kept->operations : std::vector<cluster::Operation>{})
      coordinator_.restore(operation);
    if (const Status saved = state_->save_form(options_.form); !saved)
      spdlog::error("{}", saved.error().message());
  }
  carry_out(coordinator_.bootstrap(loop_.now()));
}

Status Front::admits() const {
  if (life_ != Life::kServing) return fail(FrontError::kShuttingDown, "the server is shutting down");
  if (!checkpoint_change_.empty() && options_.weight_loading == FrontOptions::WeightLoading::kLazy)
    return fail(changed_under_ranks(options_.model_path, checkpoint_change_));
  if (coordinator_.has_served()) return {};
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
  spdlog::error("{}; {} requests end, and no more are taken", error.message(), journal_.n_live());
  fail_all_requests(error);
  check_shutdown();
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

std::size_t Front::max_requests() const {
  const std::size_t size = coordinator_.active_epoch() == nullptr
                               ? coordinator_.wanted_size()
                               : coordinator_.active_epoch()->members.size();
  return options_.max_num_queued_reqs + size * options_.max_num_seqs;
}

bool Front::ready() const { return admits().has_value() && coordinator_.ready(); }

Result<cluster::Operation> Front::scale(const ScaleRequest& request,
                                        std::function<void(const cluster::Operation&)> done) {
  if (life_ != Life::kServing) return fail(FrontError::kShuttingDown, "the server is shutting down");
  cluster::ScaleRequested event;
  event.id = request.operation_id;
  while (event.id.empty() ||
         (request.operation_id.empty() && coordinator_.find_operation(event.id) != nullptr))
    event.id = fmt::format("op-{}-{}", getpid(), next_operation_++);
  event.target_size = request.new_size;
  event.retire = request.retire;
  event.drain_timeout = std::chrono::seconds(request.drain_timeout_s);
  RETURN_IF_ERROR(check_room(request));
  auto reply = coordinator_.request_scale(event, loop_.now());
  if (!reply) return fail(to_front_error(reply.error()));
  if (cluster::is_final(reply->operation.phase) && reply->actions.empty()) {
    keep(reply->operation);
    if (done) done(reply->operation);
    return reply->operation;
  }
  if (done) waiters_[event.id].push_back(std::move(done));
  if (!reply->actions.empty()) {
    spdlog::info("operation {}: {} from {} to {} ranks", event.id, name_of(reply->operation.kind),
                 reply->operation.from_size, reply->operation.to_size);
    keep(reply->operation);
  }
  carry_out(reply->actions);
  return reply->operation;
}

// Before a joiner starts. A replace is larger for a while. What the coordinator refuses or knows already is
// left to it.
Status Front::check_room(const ScaleRequest& request) const {
  const cluster::EpochPlan* active = coordinator_.active_epoch();
  const bool is_known = coordinator_.find_operation(request.operation_id) != nullptr;
  if (active == nullptr || is_known || request.new_size > options_.max_size) return {};
  const std::size_t size = active->members.size(),
                    peak = request.new_size == size ? size + request.retire.size() : request.new_size;
  if (peak <= size) return {};
  return check_memory(options_.memory, peak, read_memory_limits());
}

std::optional<cluster::Operation> Front::operation(const std::string& id) const {
  const cluster::Operation* found = coordinator_.find_operation(id);
  return found == nullptr ? std::nullopt : std::optional(*found);
}

bool Front::scaling() const {
  return coordinator_.running_operation() != nullptr && !coordinator_.is_pausing();
}

ClusterStatus Front::cluster() const {
  ClusterStatus status;
  if (const cluster::EpochPlan* epoch = coordinator_.active_epoch()) {
    status.epoch = epoch->epoch;
    status.size = epoch->members.size();
  }
  status.min_size = options_.min_size;
  status.max_size = options_.max_size;
  status.wanted_size = coordinator_.wanted_size();
  status.n_missing = coordinator_.n_missing();
  status.n_failed_starts = coordinator_.n_failed_starts();
  status.last_start_error = coordinator_.shortage().last_error;
  if (const auto next = coordinator_.shortage().next_try; next && *next > loop_.now())
    status.next_start_s = to_ms(*next - loop_.now()) / 1e3;
  status.form = options_.form;
  for (const cluster::RankView& view : coordinator_.ranks()) {
    RankStatus out{.rank = view.member.rank, .host = host_name(), .device = "cpu", .state = view.state};
    out.n_experts = view.n_slots_used;
    if (const auto rank = ranks_.find(view.member.rank); rank != ranks_.end()) {
      out.pid = rank->second.process ? static_cast<std::uint32_t>(rank->second.process->pid()) : 0;
      const cluster::RankStats& stats = rank->second.stats;
      out.n_running = stats.n_running;
      out.n_waiting = stats.n_waiting;
      out.kv_blocks_used = stats.kv_blocks_used;
      out.kv_blocks_total = stats.kv_blocks_total;
      out.moe_times = stats.moe_times;
      out.n_nonfinite_logits = stats.n_nonfinite_logits;
    }
    for (const auto& [id, peer] : ranks_) {
      for (const auto& [whom, ms] : peer.stats.waited_ms) out.waited_for_ms += whom == out.rank ? ms : 0;
    }
    status.ranks.push_back(std::move(out));
  }
  if (const cluster::Operation* running = coordinator_.running_operation()) status.operation = *running;
  status.waits_for = coordinator_.waits_for();
  status.checkpoint_change = checkpoint_change_;
  if (!texts_change_.empty() &&
      texts_change_ != checkpoint_change_)  // they are the same if the folder is gone
    status.checkpoint_change += (checkpoint_change_.empty() ? "" : "; ") + texts_change_;
  return status;
}

std::size_t Front::n_queued() const {
  std::size_t n = journal_.n_queued();
  for (const auto& [id, rank] : ranks_) n += rank.stats.n_waiting;
  return n;
}

std::size_t Front::n_running() const {
  const std::size_t n_queued_now = n_queued();
  return journal_.n_live() > n_queued_now ? journal_.n_live() - n_queued_now : 0;
}

std::uint64_t Front::n_operations(cluster::Phase final_phase) const {
  return coordinator_.n_operations(final_phase);
}

void Front::begin_shutdown(std::function<void()> on_stopped) {
  if (life_ != Life::kServing) return;
  on_stopped_ = std::move(on_stopped);
  life_ = Life::kShuttingDown;
  handle(cluster::ShutdownBegun{});
  shutdown_timer_.set(loop_.now() + options_.shutdown_timeout, [this] {
    spdlog::warn("shutdown: {} requests still ran after --shutdown-timeout; they end now", journal_.n_live());
    fail_all_requests(
        Error(FrontError::kShuttingDown, "the server shut down before the answer was complete"));
    stop_ranks();
  });
  check_shutdown();
}

void Front::check_shutdown() {
  if (life_ == Life::kShuttingDown && journal_.n_live() == 0) stop_ranks();
}

void Front::stop_now() {
  if (life_ == Life::kStopped) return;
  fail_all_requests(Error(FrontError::kShuttingDown, "the server was stopped"));
  if (life_ != Life::kStoppingRanks) stop_ranks();
  for (auto& [id, rank] : ranks_) {
    if (rank.process) rank.process->kill();
  }
}

void Front::stop_ranks() {
  if (life_ == Life::kStoppingRanks || life_ == Life::kStopped) return;
  life_ = Life::kStoppingRanks;
  coordinator_timer_.cancel();
  if (const cluster::Operation* running = coordinator_.running_operation()) {
    cluster::Operation cut = *running;
    cut.phase = cluster::Phase::kFailed;
    cut.failure = cluster::Operation::Failure::kShutDown;
    cut.error = "the server shut down while it ran";
    end_operation(cut);
  }
  for (auto& [id, rank] : ranks_) {
    rank.channel ? send(rank.member, cluster::Release{}) : rank.process->kill();  // none: it was fenced
  }
  shutdown_timer_.set(loop_.now() + kStopRanksTimeout, [this] {
    for (auto& [id, rank] : ranks_) {
      spdlog::warn("rank {} (pid {}) did not stop in time: killed", id, rank.process->pid());
      rank.process->kill();
    }
    shutdown_timer_.set(loop_.now() + kReapTimeout, [this] { leave_unreaped(); });
  });
  if (ranks_.empty()) on_all_ranks_ended();
}

// The kernel ends a frozen or traced process when it is let go, and not before: nobody waits for that.
void Front::leave_unreaped() {
  for (auto& [id, rank] : ranks_) {
    spdlog::warn("rank {} (pid {}) was killed but does not end (is it frozen or traced?): left behind", id,
                 rank.process->pid());
  }
  on_all_ranks_ended();
}

void Front::on_all_ranks_ended() {
  if (life_ == Life::kStopped) return;
  life_ = Life::kStopped;
  shutdown_timer_.cancel();
  loop_.post([on_stopped = std::exchange(on_stopped_, nullptr)] {
    if (on_stopped) on_stopped();
  });
}

}  // namespace concertina::front
