#include "server/http/outgoing.h"

#include <array>
#include <boost/asio/write.hpp>
#include <utility>

namespace concertina::server::http {

namespace asio = boost::asio;
using boost::system::error_code;

namespace {
constexpr std::size_t kKeptCapacity = 64 << 10;  // of a buffer between two answers
}

void Outgoing::append(std::string&& body) {
  if (body.size() <= kKeptCapacity) {
    pending_ += body;
  } else {
    body_ = std::move(body);
  }
}

void Outgoing::flush() {
  if (writing_ || pending_.empty() || !socket_.is_open()) return;
  writing_ = true;
  written_.swap(pending_);
  written_body_ = std::exchange(body_, {});
  timer_.expires_after(std::chrono::duration_cast<asio::steady_timer::duration>(timeout_));
  timer_.async_wait([this, alive = owner_.alive()](const error_code& error) {
    if (!error && writing_ && timer_.expiry() <= std::chrono::steady_clock::now()) owner_.on_write_failed();
  });
  // Asio hands at most 64 KiB to one send, so that a long answer takes turns with others.
  asio::async_write(
      socket_, std::array{asio::buffer(std::as_const(written_)), asio::buffer(std::as_const(written_body_))},
      [this, alive = owner_.alive()](const error_code& error, std::size_t) {
        writing_ = false;
        timer_.cancel();
        if (error) return owner_.on_write_failed();
        written_.clear();
        written_body_ = {};
        if (written_.capacity() > kKeptCapacity) written_ = {};
        if (pending_.empty()) return owner_.on_written();
        flush();
      });
}

}  // namespace concertina::server::http
