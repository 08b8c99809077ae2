#pragma once

#include <functional>
#include <memory>

#include "base/time.h"

namespace boost::asio {
class io_context;
}

namespace concertina::server {

// Calls `tick` every `interval` from start() on for as long as it answers kGoOn: an idle server ticks not at
// all. On the thread of `context`; destroying it ends it.
class Ticker {
 public:
  enum class Next : std::uint8_t { kStop, kGoOn };
  Ticker(boost::asio::io_context& context, Duration interval, std::function<Next()> tick);
  ~Ticker();
  void start();  // does nothing while it ticks

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace concertina::server
