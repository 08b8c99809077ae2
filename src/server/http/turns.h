#pragma once

#include <deque>
#include <functional>

#include "base/lifetime.h"
#include "base/time.h"

namespace boost::asio {
class io_context;
}

namespace concertina::server::http {

// What connections have to do that their clients decide, one piece of each after the other. A turn of the
// thread does pieces for `most`, and at least one, then all else that waits there has its turn: however many
// connections there are, streams go on in between. The thread of `context`.
class Turns {
 public:
  static constexpr Duration kMost = std::chrono::milliseconds(1);
  using Clock = std::function<Time()>;

  explicit Turns(
      boost::asio::io_context& context, Duration most = kMost,
      Clock now = [] { return std::chrono::steady_clock::now(); });
  ~Turns();  // what waits is not done any more
  Turns(const Turns&) = delete;
  Turns& operator=(const Turns&) = delete;

  void add(std::function<void()> piece);  // done in a later turn, behind those that wait

 private:
  void post();
  void run();

  boost::asio::io_context& context_;
  const Duration most_;
  const Clock now_;
  std::deque<std::function<void()>> pieces_;
  enum class Posted : std::uint8_t { kNo, kYes } posted_ = Posted::kNo;
  Lifetime lifetime_;
};

}  // namespace concertina::server::http
