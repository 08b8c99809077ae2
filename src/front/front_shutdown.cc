#include "base/log.h"
#include "front/front.h"
#include "transport/codec.h"
#include "transport/control_channel.h"

namespace concertina::front {

using deployment::Shutdown;

void Front::begin_shutdown(std::function<void()> on_stopped) {
  if (!shutdown_.is_serving()) return;
  on_stopped_ = std::move(on_stopped);
  shut_down(Shutdown::Event::kAsked);
}

void Front::stop_now() { shut_down(Shutdown::Event::kAskedAtOnce); }

void Front::lose_group(const std::string& why) {
  if (shutdown_.is_stopping()) return;
  spdlog::error("{}", why);
  const Error error(FrontError::kGroupLost, why);
  fail_all_requests(error);
  if (auto on_fatal = std::exchange(on_fatal_, nullptr)) on_fatal(error);
}

void Front::shut_down(Shutdown::Event event) {
  const std::vector<Shutdown::Act> acts = shutdown_.on(event, loop_.now());
  if (acts.empty()) return;
  shutdown_timer_.cancel();
  if (const auto deadline = shutdown_.deadline()) {
    shutdown_timer_.set(*deadline, [this] {
      log_overdue();
      shut_down(Shutdown::Event::kDeadline);
    });
  }
  for (const Shutdown::Act act : acts) perform(act);
}

void Front::perform(Shutdown::Act act) {
  switch (act) {
    case Shutdown::Act::kRefuseRequests:
      return refuse_requests();
    case Shutdown::Act::kFailRequests:
      return fail_all_requests(
          Error(FrontError::kShuttingDown, shutdown_.state() == Shutdown::State::kKilling
                                               ? "the server was stopped"
                                               : "the server shut down before the answer was complete"));
    case Shutdown::Act::kReleaseRanks:
      return release_ranks();
    case Shutdown::Act::kKillRanks:
      for (auto& [id, rank] : ranks_) rank.process->kill();
      return;
    case Shutdown::Act::kSayStopped:
      return loop_.post([on_stopped = std::exchange(on_stopped_, nullptr)] {
        if (on_stopped) on_stopped();
      });
  }
}

void Front::refuse_requests() {
  tell(cluster::ShutdownBegun{});
  requests_.close(lifetime_.guard([this] { shut_down(Shutdown::Event::kRequestsEnded); }));
}

void Front::release_ranks() {
  coordinator_timer_.cancel();
  if (const cluster::Operation* running = coordinator().running_operation()) {
    cluster::Operation cut = *running;
    cut.phase = cluster::Phase::kFailed;
    cut.failure = cluster::Operation::Failure::kShutDown;
    cut.error = "the server shut down while it ran";
    end_operation(cut);
  }
  const transport::Frame release = transport::frame_of(cluster::Release{});
  for (auto& [id, rank] : ranks_) {
    rank.channel ? void(rank.channel->send(release)) : rank.process->kill();  // none: it was fenced
  }
  if (ranks_.empty()) shut_down(Shutdown::Event::kRanksEnded);
}

// Of the state whose deadline has come.
void Front::log_overdue() const {
  if (shutdown_.state() == Shutdown::State::kFinishing) {
    spdlog::warn("shutdown: {} requests still ran after --shutdown-timeout; they end now",
                 journal().n_live());
    return;
  }
  // The kernel ends a frozen or traced process when it is let go, and not before: nobody waits for that.
  const char* const what = shutdown_.state() == Shutdown::State::kReleasing
                               ? "did not stop in time: killed"
                               : "was killed but does not end (is it frozen or traced?): left behind";
  for (const auto& [id, rank] : ranks_) spdlog::warn("rank {} (pid {}) {}", id, rank.process->pid(), what);
}

}  // namespace concertina::front
