#include "base/pause.h"

#include <sched.h>

#include <thread>

namespace concertina {

namespace {

constexpr Duration kMoment = std::chrono::microseconds(20);  // and the kernel's timer slack of 50

Time now() { return std::chrono::steady_clock::now(); }

// What a thread knows of the core it runs on. Not a member of who waits: all its waits share the core.
thread_local CoreOffers offers_of_this_thread;

}  // namespace

bool offer_core() {
  const Time offered = now();
  if (!offers_of_this_thread.may_offer(offered)) return false;
  sched_yield();
  offers_of_this_thread.came_back(offered, now());
  return true;
}

void Spin::give_way() {
  if (!offer_core()) std::this_thread::sleep_for(kMoment);
}

}  // namespace concertina
