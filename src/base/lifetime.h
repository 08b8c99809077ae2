#pragma once

#include <memory>
#include <utility>

namespace concertina {

// A member of whoever posts functions that may outlive it: they carry a Watch, which is over with the member.
// Watches are copied and dropped on any thread; asked on the owner's, or the answer is old at once.
class Lifetime {
 public:
  class Watch {
   public:
    bool is_over() const { return life_.expired(); }

   private:
    friend class Lifetime;
    explicit Watch(const std::shared_ptr<char>& life) : life_(life) {}
    std::weak_ptr<char> life_;
  };

  Lifetime() = default;
  Lifetime(const Lifetime&) = delete;
  Lifetime& operator=(const Lifetime&) = delete;

  Watch watch() const { return Watch(life_); }
  // `function`, which does nothing once this is over.
  template <typename Function>
  auto guard(Function function) const {
    return [watch = watch(), function = std::move(function)]() mutable {
      if (!watch.is_over()) function();
    };
  }

 private:
  const std::shared_ptr<char> life_ = std::make_shared<char>();
};

}  // namespace concertina
