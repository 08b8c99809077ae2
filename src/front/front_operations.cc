// What operators want and see.
#include <unistd.h>

#include <algorithm>
#include <array>

#include "base/log.h"
#include "base/memory_limits.h"
#include "front/front.h"
#include "transport/control_channel.h"

namespace concertina::front {

namespace {

std::string host_name() {
  std::array<char, 256> name{};
  return gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "localhost";
}

}  // namespace

std::size_t Front::max_requests() const {
  const std::size_t size = coordinator().active_epoch() == nullptr
                               ? coordinator().wanted_size()
                               : coordinator().active_epoch()->members.size();
  return options_.max_num_queued_reqs + size * options_.max_num_seqs;
}

Result<cluster::Operation> Front::scale(const ScaleRequest& request,
                                        std::function<void(const cluster::Operation&)> done) {
  if (!shutdown_.is_serving()) return fail(FrontError::kShuttingDown, "the server is shutting down");
  cluster::ScaleRequested event;
  event.id = request.operation_id;
  while (event.id.empty() ||
         (request.operation_id.empty() && coordinator().find_operation(event.id) != nullptr))
    event.id = fmt::format("op-{}-{}", getpid(), next_operation_++);
  event.target_size = request.new_size;
  event.retire = request.retire;
  event.drain_timeout = std::chrono::seconds(request.drain_timeout_s);
  RETURN_IF_ERROR(check_room(request));
  const bool is_new = coordinator().find_operation(event.id) == nullptr;
  const auto record = deployment_.scale(event, loop_.now(), effects_);
  if (!record) return record;
  if (is_new) keep(*record);
  if (cluster::is_final(record->phase)) {
    carry_out();
    if (done) done(*record);
    return record;
  }
  if (done) waiters_[event.id].push_back(std::move(done));
  if (is_new) {
    spdlog::info("operation {}: {} from {} to {} ranks", event.id, name_of(record->kind), record->from_size,
                 record->to_size);
  }
  carry_out();
  return record;
}

// Before a joiner starts. A replace is larger for a while. What the coordinator refuses or knows already is
// left to it.
Status Front::check_room(const ScaleRequest& request) const {
  const cluster::EpochPlan* active = coordinator().active_epoch();
  const bool is_known = coordinator().find_operation(request.operation_id) != nullptr;
  if (active == nullptr || is_known || request.new_size > options_.cluster.max_size) return {};
  const std::size_t size = active->members.size(),
                    peak = request.new_size == size ? size + request.retire.size() : request.new_size;
  if (peak <= size) return {};
  return check_memory(options_.memory, peak, read_memory_limits());
}

std::optional<cluster::Operation> Front::operation(const std::string& id) const {
  const cluster::Operation* found = coordinator().find_operation(id);
  return found == nullptr ? std::nullopt : std::optional(*found);
}

bool Front::scaling() const {
  return coordinator().running_operation() != nullptr && !coordinator().is_pausing();
}

ClusterStatus Front::cluster() const {
  ClusterStatus status;
  if (const cluster::EpochPlan* epoch = coordinator().active_epoch()) {
    status.epoch = epoch->epoch;
    status.size = epoch->members.size();
  }
  status.min_size = options_.cluster.min_size;
  status.max_size = options_.cluster.max_size;
  status.wanted_size = coordinator().wanted_size();
  status.n_missing = coordinator().n_missing();
  status.n_failed_starts = coordinator().n_failed_starts();
  status.last_start_error = coordinator().shortage().last_error;
  if (const auto next = coordinator().shortage().next_try; next && *next > loop_.now())
    status.next_start_s = to_ms(*next - loop_.now()) / 1e3;
  status.n_rebalanced = journal().n_rebalanced();
  status.form = options_.form;
  status.weights_loaded_bytes = weights_loaded_bytes_;
  status.weights_total_bytes = options_.weights_bytes;
  for (const cluster::RankView& view : coordinator().ranks()) {
    RankStatus out{.rank = view.member.rank, .host = host_name(), .device = "cpu", .state = view.state};
    out.n_experts = view.n_slots_used;
    if (const auto rank = ranks_.find(view.member.rank); rank != ranks_.end()) {
      out.pid = rank->second.process ? static_cast<std::uint32_t>(rank->second.process->pid()) : 0;
      out.load = rank->second.load;
      out.stats = rank->second.stats;
    }
    for (const auto& [id, peer] : ranks_) {
      for (const auto& [whom, ms] : peer.stats.waited_ms) out.waited_for_ms += whom == out.rank ? ms : 0;
    }
    status.ranks.push_back(std::move(out));
  }
  if (const cluster::Operation* running = coordinator().running_operation()) status.operation = *running;
  status.waits_for = coordinator().waits_for();
  status.checkpoint_change = checkpoint_change_;
  if (!texts_change_.empty() &&
      texts_change_ != checkpoint_change_)  // they are the same if the folder is gone
    status.checkpoint_change += (checkpoint_change_.empty() ? "" : "; ") + texts_change_;
  return status;
}

std::size_t Front::n_queued() const {
  std::size_t n = journal().n_queued();
  for (const auto& [id, rank] : ranks_) n += rank.stats.n_waiting;
  return n;
}

std::size_t Front::n_running() const {
  const std::size_t n_queued_now = n_queued();
  return journal().n_live() > n_queued_now ? journal().n_live() - n_queued_now : 0;
}

std::uint64_t Front::n_operations(cluster::Phase final_phase) const {
  return coordinator().n_operations(final_phase);
}

void Front::end_operation(const cluster::Operation& operation) {
  if (operation.phase == cluster::Phase::kDone) last_pause_ms_ = operation.max_pause_ms;
  spdlog::log(operation.error ? spdlog::level::warn : spdlog::level::info, "operation {}: {}{}", operation.id,
              name_of(operation.phase), operation.error ? ": " + *operation.error : "");
  keep(operation);
  auto waiters = waiters_.extract(operation.id);
  if (waiters.empty()) return;
  for (const auto& done : waiters.mapped()) done(operation);
}

// A disk that is full costs the records, not the service. A recovery that failed is no wish for fewer ranks:
// a restart tries again.
void Front::keep(const cluster::Operation& operation) {
  if (state_ == nullptr) return;
  Status kept = state_->save(operation, loop_.now());
  const bool is_wanted =
      operation.kind != cluster::OperationKind::kRecover || operation.phase == cluster::Phase::kDone;
  if (kept && is_wanted && shutdown_.is_serving() && coordinator().running_operation() == nullptr)
    kept = state_->save_wanted_size(coordinator().wanted_size());
  if (!kept) spdlog::error("{}", kept.error().message());
}

}  // namespace concertina::front
