#include "tools/chaos/rank_trouble.h"

#include <fmt/format.h>

#include <csignal>
#include <set>

#include "tests/harness/server_process.h"

namespace concertina::chaos {

bool is_at_rest(const std::string& url) {
  const auto cluster = client::fetch_cluster(url);
  return cluster && !cluster->operation && cluster->n_missing == 0 && cluster->size == cluster->wanted_size &&
         cluster->ranks.size() == cluster->size;
}

void RankTrouble::kill_one(Random random) {
  if (const auto pid = some_rank(random)) {
    kill(*pid, SIGKILL);
    ++n_killed_;
  }
}

void RankTrouble::terminate_one(Random random) {
  if (const auto pid = some_rank(random)) {
    kill(*pid, SIGTERM);
    ++n_terminated_;
  }
}

void RankTrouble::stop_one(Random random) {
  if (const auto pid = some_rank(random)) {
    kill(*pid, SIGSTOP);
    stopped_.push_back(*pid);
    ++n_stopped_;
  }
}

void RankTrouble::wake_one() {
  if (stopped_.empty()) return;
  kill(stopped_.back(), SIGCONT);
  stopped_.pop_back();
}

void RankTrouble::wake_all() {
  while (!stopped_.empty()) wake_one();
}

bool RankTrouble::kill_all_for(Duration duration) {
  const Time end = std::chrono::steady_clock::now() + duration;
  std::set<pid_t> killed;
  while (std::chrono::steady_clock::now() < end) {
    if (const auto cluster = client::fetch_cluster(url_)) {
      for (const auto& rank : cluster->ranks) {
        const auto pid = static_cast<pid_t>(rank.pid);
        if (pid > 0 && killed.insert(pid).second) kill(pid, SIGKILL);
      }
    }
    harness::pause_between_polls();
  }
  ++n_storms_;
  n_killed_in_storms_ += killed.size();
  const Time from = std::chrono::steady_clock::now();
  const bool is_back = harness::eventually([&] { return is_at_rest(url_); });
  longest_return_ = std::max<Duration>(longest_return_, std::chrono::steady_clock::now() - from);
  return is_back;
}

std::string RankTrouble::summary() const {
  return fmt::format(
      "{} ranks killed, {} stopped, {} told to go; {} times all that came were killed, {} ranks; the size "
      "was "
      "back within {:.1f} s",
      n_killed_, n_stopped_, n_terminated_, n_storms_, n_killed_in_storms_, to_ms(longest_return_) / 1000);
}

std::optional<pid_t> RankTrouble::some_rank(Random& random) const {
  const auto cluster = client::fetch_cluster(url_);
  if (!cluster || cluster->ranks.empty()) return std::nullopt;
  const auto pid = static_cast<pid_t>(cluster->ranks[random.below(cluster->ranks.size())].pid);
  return pid > 0 ? std::optional(pid) : std::nullopt;
}

}  // namespace concertina::chaos
