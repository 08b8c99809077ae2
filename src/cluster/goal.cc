#include "cluster/goal.h"

#include <fmt/format.h>

#include <algorithm>

namespace concertina::cluster {

std::vector<Member> Goal::leavers(const std::vector<Member>& members) const {
  if (cancelled) return taken_back(members);
  std::vector<Member> leavers;
  std::size_t n_stayers = members.size();
  for (const Member& member : members) n_stayers -= retire.contains(member) ? 1 : 0;
  for (auto member = members.rbegin(); member != members.rend(); ++member) {
    const bool is_named = retire.contains(*member);
    if (!is_named && n_stayers <= size) continue;
    n_stayers -= is_named ? 0 : 1;
    leavers.push_back(*member);
  }
  std::reverse(leavers.begin(), leavers.end());
  return leavers;
}

// Not all that it brought, where others were lost meanwhile.
std::vector<Member> Goal::taken_back(std::vector<Member> members) const {
  const auto leaves_first = [this](const Member& a, const Member& b) {
    return std::pair(joined.contains(a), a) > std::pair(joined.contains(b), b);
  };
  std::sort(members.begin(), members.end(), leaves_first);
  members.resize(members.size() - std::min(members.size(), size));
  std::sort(members.begin(), members.end());
  return members;
}

std::size_t Goal::n_missing(std::size_t n_stayers) const {
  return cancelled ? 0 : size - std::min(size, n_stayers);
}

void Goal::turn_back(Outcome outcome, std::size_t back_to) {
  *this = {.size = back_to, .joined = std::move(joined), .cancelled = std::move(outcome)};
}

void Goal::stay(const Outcome& outcome, std::size_t size_now) {
  cancelled->phase = Phase::kFailed;
  cancelled->failure = outcome.failure;
  cancelled->error +=
      fmt::format("; then going back failed, and the size stays {}: {}", size_now, outcome.error);
  *this = {.size = size_now, .joined = std::move(joined), .cancelled = std::move(cancelled)};
}

}  // namespace concertina::cluster
