#include "server/http/turns.h"

#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <string>

namespace concertina::server::http {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

class TurnsTest : public ::testing::Test {
 protected:
  // A piece that takes so long, and leaves a letter.
  std::function<void()> piece(char letter, Duration takes) {
    return [this, letter, takes] {
      now += takes;
      done.push_back(letter);
    };
  }
  boost::asio::io_context context;
  Time now{};
  Turns turns{context, milliseconds(1), [this] { return now; }};
  std::string done;
};

TEST_F(TurnsTest, AThousandConnectionsDoNotHoldUpWhatElseTheThreadHasToDo) {
  for (int i = 0; i < 10; ++i) turns.add(piece('r', microseconds(400)));
  boost::asio::post(context, [this] { done.push_back('s'); });  // a stream's token
  context.run();
  EXPECT_EQ(done, "rrrsrrrrrrr") << "as many as fit a millisecond, the one that begins in it included";
}

TEST_F(TurnsTest, WhatTakesLongHasATurnOfItsOwn) {
  turns.add(piece('a', milliseconds(5)));
  turns.add(piece('b', milliseconds(5)));
  boost::asio::post(context, [this] { done.push_back('s'); });
  context.run();
  EXPECT_EQ(done, "asb");
}

TEST_F(TurnsTest, WhoComesBackStandsBehindTheOthers) {
  turns.add([this] {
    done.push_back('a');
    turns.add(piece('A', microseconds(1)));
  });
  turns.add(piece('b', microseconds(1)));
  context.run();
  EXPECT_EQ(done, "abA");
}

TEST_F(TurnsTest, APieceMayEndThemAll) {
  auto own = std::make_unique<Turns>(context, milliseconds(1), [this] { return now; });
  own->add([&] { own.reset(); });
  own->add(piece('x', microseconds(1)));
  context.run();
  EXPECT_EQ(done, "");
}

}  // namespace
}  // namespace concertina::server::http
