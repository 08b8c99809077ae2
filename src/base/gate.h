#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <utility>

#include "base/check.h"

namespace concertina {

// Work under way that an end has to wait for: counts what is inside, refuses what comes after close(), and
// says when the last has left. Seastar's gate, without futures. It outlives its passes. One owner.
class Gate {
 public:
  // The right to be inside, which ends with it.
  class Pass {
   public:
    Pass(Pass&& other) noexcept : gate_(std::exchange(other.gate_, nullptr)) {}
    Pass& operator=(Pass&& other) noexcept {
      std::swap(gate_, other.gate_);  // what this was goes with `other`
      return *this;
    }
    ~Pass() {
      if (gate_ != nullptr) gate_->leave();
    }

   private:
    friend class Gate;
    explicit Pass(Gate* gate) : gate_(gate) {}
    Gate* gate_;
  };

  Gate() = default;
  ~Gate() { CHECK(n_inside_ == 0, "a gate ends with {} inside", n_inside_); }
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;

  std::optional<Pass> enter() {  // none: it is closed
    if (is_closed_) return std::nullopt;
    ++n_inside_;
    return Pass(this);
  }
  // Nothing enters any more. `when_empty` is called once: now, or as the last pass goes. Closing it again
  // does nothing.
  void close(std::function<void()> when_empty) {
    if (std::exchange(is_closed_, true)) return;
    when_empty_ = std::move(when_empty);
    say_if_empty();
  }

  bool is_closed() const { return is_closed_; }
  std::size_t n_inside() const { return n_inside_; }

 private:
  void leave() {
    --n_inside_;
    if (is_closed_) say_if_empty();
  }
  void say_if_empty() {
    if (n_inside_ > 0) return;
    if (const auto say = std::exchange(when_empty_, nullptr)) say();  // may destroy *this
  }

  std::size_t n_inside_ = 0;
  bool is_closed_ = false;
  std::function<void()> when_empty_;
};

}  // namespace concertina
