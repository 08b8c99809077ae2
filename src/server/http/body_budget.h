#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <list>

#include "base/time.h"

namespace concertina::server::http {

// Bytes that all unfinished bodies share. What has come counts, not what was announced: else a few headers
// would take all of it. When it is used up, bodies that stand still give way, the one that has for longest
// first: else one client that opens bodies and never ends them would have those of all others refused.
class BodyBudget {
 public:
  using Clock = std::function<Time()>;
  static constexpr Duration kStandsStill = std::chrono::seconds(1);  // without kStep bytes more
  static constexpr std::size_t kStep = 64 << 10;

  explicit BodyBudget(
      std::size_t n_bytes, Clock now = [] { return std::chrono::steady_clock::now(); })
      : n_left_(n_bytes), now_(std::move(now)) {}

  // One body's part of it; given back when destroyed.
  class Share {
   public:
    // Bytes of a body that count for nothing, so that ordinary requests pass while others fill the budget.
    static constexpr std::size_t kFree = 16 << 10;

    // `give_way` is called when another needs the room: gives back, and may destroy this.
    Share(BodyBudget& budget, std::function<void()> give_way)
        : budget_(budget), give_way_(std::move(give_way)) {}
    ~Share() { give_back(); }
    Share(const Share&) = delete;
    Share& operator=(const Share&) = delete;

    // False: there is not so much left, and nothing of this has changed.
    bool grow_to(std::size_t n_bytes) {
      const std::size_t n_wanted = n_bytes > kFree ? n_bytes - kFree : 0;
      if (n_wanted <= n_held_) return true;
      if (!budget_.make_room(n_wanted - n_held_, this)) return false;
      if (n_held_ == 0) place_ = budget_.holders_.insert(budget_.holders_.end(), this);
      budget_.n_left_ -= n_wanted - n_held_;
      n_held_ = n_wanted;
      if (n_held_ < n_noted_ + kStep && n_noted_ > 0) return true;
      n_noted_ = n_held_;
      got_on_at_ = budget_.now_();
      budget_.holders_.splice(budget_.holders_.end(), budget_.holders_, place_);
      return true;
    }
    void shrink_to(std::size_t n_bytes) {
      give_back();
      grow_to(n_bytes);
    }
    void give_back() {
      if (n_held_ == 0) return;
      budget_.holders_.erase(place_);
      budget_.n_left_ += n_held_;
      n_held_ = n_noted_ = 0;
    }

   private:
    friend class BodyBudget;
    BodyBudget& budget_;
    const std::function<void()> give_way_;
    std::size_t n_held_ = 0, n_noted_ = 0;  // when it last got on
    Time got_on_at_{};
    std::list<Share*>::iterator place_;  // in holders_, while it holds some
  };

 private:
  bool make_room(std::size_t n_bytes, const Share* whose) {
    while (n_bytes > n_left_) {
      const std::size_t n_before = n_left_;
      if (holders_.empty() || holders_.front() == whose) return false;
      if (now_() - holders_.front()->got_on_at_ < kStandsStill) return false;
      const auto give_way = holders_.front()->give_way_;  // a copy: its owner goes
      give_way();
      if (n_left_ == n_before) return false;
    }
    return true;
  }

  std::size_t n_left_;
  const Clock now_;
  std::list<Share*> holders_;  // who got on last is the last
};

}  // namespace concertina::server::http
