#include "cluster/shortage.h"

#include <algorithm>

namespace concertina::cluster {

namespace {
constexpr int kQuickTries = 3, kMostDoublings = 5;
constexpr Duration kBeforeThird = std::chrono::milliseconds(200), kFirstPause = std::chrono::seconds(1),
                   kLongestPause = std::chrono::seconds(30);
}  // namespace

Duration pause_after(int n_failed_starts) {
  if (n_failed_starts + 1 < kQuickTries) return Duration::zero();
  if (n_failed_starts < kQuickTries) return kBeforeThird;
  const int n_doublings = std::min(n_failed_starts - kQuickTries, kMostDoublings);
  return std::min(kFirstPause * (1 << n_doublings), kLongestPause);
}

Shortage after_failed_start(Shortage shortage, std::string error, int n_failed_before, Time now) {
  shortage.last_error = std::move(error);
  if (!shortage.since) shortage.since = now;
  if (n_failed_before < shortage.n_failed_starts) return shortage;
  shortage.n_failed_starts = n_failed_before + 1;
  shortage.next_try = now + pause_after(shortage.n_failed_starts);
  return shortage;
}

bool may_start(const Shortage& shortage, Time now) { return !shortage.next_try || now >= *shortage.next_try; }

Outage after_loss(Outage outage, Duration limit, Time now) {
  const bool has_served = outage.entered && now - *outage.entered >= limit;
  if (!outage.since || has_served) outage.since = now;
  outage.entered.reset();
  return outage;
}

Outage after_entering(Outage outage, Time now) {
  outage.entered = now;
  return outage;
}

Outage after_token(Outage outage) {
  outage.since.reset();
  return outage;
}

std::optional<Time> end_of(const Outage& outage, Duration limit) {
  if (!outage.since || outage.entered) return std::nullopt;
  return limit > Time::max() - *outage.since ? Time::max() : *outage.since + limit;
}

}  // namespace concertina::cluster
