#include "server/http/turns.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

namespace concertina::server::http {

Turns::Turns(boost::asio::io_context& context, Duration most, Clock now)
    : context_(context), most_(most), now_(std::move(now)) {}
Turns::~Turns() = default;

void Turns::add(std::function<void()> piece) {
  pieces_.push_back(std::move(piece));
  if (posted_ == Posted::kNo) post();
}

void Turns::post() {
  posted_ = Posted::kYes;
  boost::asio::post(context_, lifetime_.guard([this] { run(); }));
}

// One piece more than `most` allows may have begun. What pieces add has its place behind those that wait.
void Turns::run() {
  const Lifetime::Watch life = lifetime_.watch();
  const Time end = now_() + most_;
  do {
    const auto piece = std::move(pieces_.front());
    pieces_.pop_front();
    piece();
    if (life.is_over()) return;
  } while (!pieces_.empty() && now_() < end);
  posted_ = Posted::kNo;
  if (!pieces_.empty()) post();
}

}  // namespace concertina::server::http
