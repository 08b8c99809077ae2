#pragma once

#include <optional>
#include <string>

#include "base/time.h"

namespace concertina::cluster {

// The group is smaller than it should be, because ranks could not be started: a state that lasts until ranks
// join, not an operation that ends. Rule 14 of docs/epoch_protocol.md. A value; what happens to it is said by
// pure functions.
struct Shortage {
  int n_failed_starts = 0;    // in a row, over all operations: only a rank that joins an epoch ends the row
  std::string last_error;     // why the last of them failed: "rank 1: signal 9"
  std::optional<Time> since;  // the first of them
  std::optional<Time> next_try;  // no rank is started before
  // A group of so many ranks could not be prepared: a smaller one, or the same, is not tried before next_try.
  std::size_t too_few = 0;
  bool operator==(const Shortage&) const = default;
};

// Three tries come quickly, for what passes at once; then 1 s, twice as long each time, at most 30 s.
Duration pause_after(int n_failed_starts);

// `n_failed_before`: how many had failed when this start was made. Ranks that were started together and fail
// together count once.
Shortage after_failed_start(Shortage shortage, std::string error, int n_failed_before, Time now);
bool may_start(const Shortage& shortage, Time now);

// How long no epoch has served (rule 16). It goes on over an epoch that was entered and gave no token.
struct Outage {
  std::optional<Time> since;    // none: tokens come
  std::optional<Time> entered;  // an epoch is in force again since; none: no epoch is
  bool operator==(const Outage&) const = default;
};

// An epoch that was in force for `limit` served, even if nobody asked it for a token.
Outage after_loss(Outage outage, Duration limit, Time now);
Outage after_entering(Outage outage, Time now);
Outage after_token(Outage outage);
std::optional<Time> end_of(const Outage& outage,
                           Duration limit);  // when the server gives up; none: it serves

}  // namespace concertina::cluster
