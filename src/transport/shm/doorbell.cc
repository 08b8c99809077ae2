#include "transport/shm/doorbell.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <ctime>

#include "base/pause.h"

namespace concertina::transport {

static_assert(sizeof(std::atomic<std::uint32_t>) == 4 && std::atomic<std::uint32_t>::is_always_lock_free);

// No wake-up is lost: all four accesses are sequentially consistent. Either the ringer reads `sleeping` as 1
// and wakes, or its read came before the owner's write of 1, and then so did its increment, which the owner's
// later read of `rings` sees: what the ringer published before is visible to the check that follows. An
// increment after that read makes futex_wait return at once. The ringer does not clear `sleeping`, which
// would save wake-ups when several ring: one that were killed or stopped between clearing and waking would
// silence all others.
void Doorbell::ring() const {
  words_->rings.fetch_add(1, std::memory_order_seq_cst);
  if (words_->sleeping.load(std::memory_order_seq_cst) != 0)
    ::syscall(SYS_futex, &words_->rings, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

std::uint32_t Doorbell::announce_sleep() const {
  words_->sleeping.store(1, std::memory_order_seq_cst);
  return words_->rings.load(std::memory_order_seq_cst);
}

void Doorbell::retract_sleep() const { words_->sleeping.store(0, std::memory_order_relaxed); }

// Not FUTEX_PRIVATE: ringers are other processes. Every return is a reason to look again, so none is told
// apart.
void Doorbell::sleep(std::uint32_t seen, std::optional<Time> deadline) const {
  timespec timeout{};
  if (deadline) {
    const auto left = std::max<std::int64_t>(0, (*deadline - now()).count());
    timeout = {.tv_sec = left / 1'000'000'000, .tv_nsec = left % 1'000'000'000};
  }
  ::syscall(SYS_futex, &words_->rings, FUTEX_WAIT, seen, deadline ? &timeout : nullptr, nullptr, 0);
}

bool Doorbell::yield_before(Time end) { return now() < end && offer_core(); }

}  // namespace concertina::transport
