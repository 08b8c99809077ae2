#pragma once

#include <algorithm>
#include <cstddef>

namespace concertina::server::http {

// Bytes that all unfinished bodies share. What has come counts, not what was announced: else a few headers
// would take all of it.
class BodyBudget {
 public:
  explicit BodyBudget(std::size_t n_bytes) : n_left_(n_bytes) {}

  // One body's part of it; given back when destroyed.
  class Share {
   public:
    // Bytes of a body that count for nothing, so that ordinary requests pass while others fill the budget.
    static constexpr std::size_t kFree = 16 << 10;

    explicit Share(BodyBudget& budget) : budget_(budget) {}
    ~Share() { budget_.n_left_ += n_held_; }
    Share(const Share&) = delete;
    Share& operator=(const Share&) = delete;

    // False: there is not so much left, and nothing has changed.
    bool grow_to(std::size_t n_bytes) {
      const std::size_t n_wanted = n_bytes > kFree ? n_bytes - kFree : 0;
      if (n_wanted <= n_held_) return true;
      if (n_wanted - n_held_ > budget_.n_left_) return false;
      budget_.n_left_ -= n_wanted - n_held_;
      n_held_ = n_wanted;
      return true;
    }
    void shrink_to(std::size_t n_bytes) {
      give_back();
      grow_to(n_bytes);
    }
    void give_back() {
      budget_.n_left_ += n_held_;
      n_held_ = 0;
    }

   private:
    BodyBudget& budget_;
    std::size_t n_held_ = 0;
  };

 private:
  std::size_t n_left_;
};

}  // namespace concertina::server::http
