#pragma once

#include <string>
#include <utility>

#include "base/time.h"

namespace concertina::server::admin {

// A text about the state of things, for requests that ask for the same. One that was made for a request also
// answers those that had come before it was made: nobody can tell it from a text of his own. So of a flood of
// requests that do not wait for answers few cost more than the sending, and no answer is older than its
// request.
class SharedText {
 public:
  template <typename Make>
  const std::string& at_least_of(Time received_at, Time now, const Make& make) {
    if (received_at > made_at_) {
      text_ = make();
      made_at_ = now;
    }
    return text_;
  }

 private:
  Time made_at_ = Time::min();
  std::string text_;
};

}  // namespace concertina::server::admin
