#include "cluster/failure_detector.h"

#include <fmt/format.h>

namespace concertina::cluster {

void FailureDetector::watch(const Member& member, Time now) {
  if (timeout_ == Duration::zero()) return;
  if (is_idle()) last_check_ = now;
  watched_[member] = {.last_heard = now, .last_progress = now};
}

void FailureDetector::forget(const Member& member) {
  watched_.erase(member);
  tasks_.erase(member);
}

void FailureDetector::begin_task(const Member& member, std::string failing, Duration limit, Time now) {
  if (timeout_ == Duration::zero()) return;
  if (is_idle()) last_check_ = now;
  tasks_[member] = {.failing = std::move(failing), .limit = limit, .since = now};
}

void FailureDetector::got_on(const Member& member, std::uint64_t loaded, Time now) {
  const auto task = tasks_.find(member);
  if (task == tasks_.end() || task->second.loaded == loaded) return;
  task->second.loaded = loaded;
  task->second.since = now;
}

void FailureDetector::heard(const Member& member, std::uint64_t progress, Time now) {
  const auto found = watched_.find(member);
  if (found == watched_.end()) return;
  Watched& watched = found->second;
  watched.last_heard = now;
  if (watched.progress == progress) return;
  watched.progress = progress;
  watched.last_progress = now;
}

// A suspicion that no peer repeats for a while is over: the step got on, or was given up.
void FailureDetector::suspected(const Member& member, const std::string& what, Time now) {
  const auto found = watched_.find(member);
  if (found == watched_.end()) return;
  Watched& watched = found->second;
  const bool is_new = !watched.last_suspected || now - *watched.last_suspected > 2 * timeout_;
  if (is_new) watched.last_progress = now;
  watched.last_suspected = now;
  watched.suspicion = what;
}

std::vector<FailureDetector::Verdict> FailureDetector::check(Time now) {
  const bool was_away = now - last_check_ > timeout_ / 2;
  last_check_ = now;
  std::vector<Verdict> verdicts;
  for (auto& [member, watched] : watched_) {
    if (was_away) {
      watched = {.last_heard = now, .last_progress = now, .progress = watched.progress};
    } else if (now - watched.last_heard > timeout_) {
      verdicts.push_back(
          {member, fmt::format("no sign of life for {:.0f} ms (limit {:.0f} ms): its process is "
                               "stopped or gets no processor time",
                               to_ms(now - watched.last_heard), to_ms(timeout_))});
    } else if (watched.last_suspected && now - *watched.last_suspected <= 2 * timeout_ &&
               now - watched.last_progress > kStuckFactor * timeout_) {
      verdicts.push_back({member,
                          fmt::format("its step stands still for {:.0f} ms: {}",
                                      to_ms(now - watched.last_progress), watched.suspicion),
                          LossCause::kStuckStep});
    }
  }
  for (auto& [member, task] : tasks_) {
    if (was_away) {
      task.since = now;
    } else if (now - task.since > task.limit) {
      verdicts.push_back({member, fmt::format("{} for {:g} s", task.failing, to_ms(task.limit) / 1e3)});
    }
  }
  return verdicts;
}

std::optional<Time> FailureDetector::next_check() const {
  if (is_idle()) return std::nullopt;
  return last_check_ + interval();
}

}  // namespace concertina::cluster
