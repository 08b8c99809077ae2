#pragma once

#include <memory>
#include <utility>

namespace concertina::request {

// A part of a request that most have not: shared by its choices, and a null pointer where there is none, so
// that a plain request stays as cheap to move as it was. Immutable. `says_nothing` of a value, found beside
// its type, tells which is none.
template <typename Value>
class Shared {
 public:
  Shared() = default;
  Shared(Value value)  // NOLINT(google-explicit-constructor): they are the same thing
      : value_(says_nothing(value) ? nullptr : std::make_shared<const Value>(std::move(value))) {}
  explicit operator bool() const { return value_ != nullptr; }
  const Value* operator->() const { return value_.get(); }  // not of a request that has none
  const Value& operator*() const { return *value_; }        // likewise
  bool operator==(const Shared& other) const {
    return value_ == other.value_ || (value_ && other.value_ && *value_ == *other.value_);
  }

 private:
  std::shared_ptr<const Value> value_;
};

}  // namespace concertina::request
