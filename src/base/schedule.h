#pragma once

#include <functional>
#include <map>
#include <utility>

#include "base/time.h"

namespace concertina {

// Virtual time, for simulations: what happens next, and when. Events of the same time happen in the order
// they were made.
class Schedule {
 public:
  Time now() const { return now_; }
  void at(Time time, std::function<void()> what) {
    events_.emplace(std::pair(std::max(time, now_), ++n_made_), std::move(what));
  }
  void after(Duration delay, std::function<void()> what) { at(now_ + delay, std::move(what)); }
  bool empty() const { return events_.empty(); }
  Time next() const { return events_.begin()->first.first; }
  void step() {
    auto event = events_.extract(events_.begin());
    now_ = event.key().first;
    ++n_happened_;
    event.mapped()();
  }
  std::uint64_t n_happened() const { return n_happened_; }

 private:
  Time now_{std::chrono::seconds(1)};
  std::uint64_t n_made_ = 0, n_happened_ = 0;
  std::map<std::pair<Time, std::uint64_t>, std::function<void()>> events_;
};

}  // namespace concertina
