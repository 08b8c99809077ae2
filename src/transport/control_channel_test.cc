#include "transport/control_channel.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <optional>
#include <string>
#include <vector>

#include "transport/control.pb.h"
#include "transport/frame_decoder.h"

namespace concertina::transport {
namespace {

using testing::HasSubstr;

Frame numbered(std::uint64_t n, std::size_t extra_bytes = 0) {
  Frame frame;
  frame.mutable_prepare_failed()->set_epoch(n);
  frame.mutable_prepare_failed()->set_error(std::string(extra_bytes, 'x'));
  return frame;
}

// A channel and, at the other end, a bare socket or a second channel. Everything runs on one thread.
class ControlChannelTest : public testing::Test {
 protected:
  ControlChannelTest() {
    auto pair = make_socket_pair();
    EXPECT_TRUE(pair);
    channel_.emplace(context_, pair->first.release(), "control channel of rank 3", std::size_t{1} << 20);
    peer_ = std::move(pair->second);
  }

  void start() {
    channel_->start([this](const Frame& frame) { received_.push_back(frame.prepare_failed().epoch()); },
                    [this](const Error& why) { closed_.push_back(why); });
  }
  void write_raw(const std::string& bytes) {
    ASSERT_EQ(::write(peer_.get(), bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
  }
  void expect_closed(TransportError code, const std::string& text) {
    ASSERT_EQ(closed_.size(), 1u);
    EXPECT_TRUE(closed_[0].is(code)) << closed_[0].message();
    EXPECT_THAT(closed_[0].message(), HasSubstr(text));
    EXPECT_THAT(closed_[0].message(), HasSubstr("rank 3"));
    EXPECT_FALSE(channel_->is_open());
  }

  boost::asio::io_context context_;
  std::optional<ControlChannel> channel_;
  FileDescriptor peer_;
  std::vector<std::uint64_t> received_;
  std::vector<Error> closed_;
};

TEST_F(ControlChannelTest, ManyFramesOfAllSizesArriveInOrderBothWays) {
  constexpr std::uint64_t kFrames = 2000;
  std::vector<std::uint64_t> echoed;
  ControlChannel other(context_, peer_.release(), "front");
  other.start([&](const Frame& frame) { other.send(frame); }, [](const Error&) {});
  channel_->start(
      [&](const Frame& frame) {
        echoed.push_back(frame.prepare_failed().epoch());
        if (echoed.size() == kFrames) channel_->close(), other.close();
      },
      [&](const Error& why) { ADD_FAILURE() << why.message(); });
  for (std::uint64_t i = 0; i < kFrames; ++i) channel_->send(numbered(i, i % 7 == 0 ? 3000 : i % 50));
  context_.run();
  ASSERT_EQ(echoed.size(), kFrames);
  for (std::uint64_t i = 0; i < kFrames; ++i) EXPECT_EQ(echoed[i], i);
}

TEST_F(ControlChannelTest, AFrameInPiecesIsOneFrame) {
  std::string bytes;
  append_frame(bytes, numbered(5, 100));
  append_frame(bytes, numbered(6));
  start();
  for (const char byte : bytes) {
    write_raw(std::string(1, byte));
    context_.poll();
  }
  EXPECT_THAT(received_, testing::ElementsAre(5, 6));
  EXPECT_TRUE(closed_.empty());
}

TEST_F(ControlChannelTest, WhatThePeerSentBeforeItWentIsDelivered) {
  std::string bytes;
  for (std::uint64_t i = 0; i < 10; ++i) append_frame(bytes, numbered(i));
  write_raw(bytes);
  peer_.reset();
  channel_->send(numbered(1));  // into nowhere
  start();
  context_.run();
  EXPECT_EQ(received_.size(), 10u);
  expect_closed(TransportError::kPeerClosed, "closed by the other end");
}

TEST_F(ControlChannelTest, APeerThatDiesInsideAFrameIsNamed) {
  write_raw(std::string("\x10\0\0\0abc", 7));
  peer_.reset();
  start();
  context_.run();
  expect_closed(TransportError::kPeerClosed, "7 bytes into a frame");
}

TEST_F(ControlChannelTest, AnOversizedFrameClosesIt) {
  write_raw(std::string("\x01\0\0\x04", 4));  // 64 MiB + 1
  start();
  context_.run();
  expect_closed(TransportError::kBadFrame, "67108865 bytes; at most 67108864");
}

TEST_F(ControlChannelTest, GarbageClosesItAfterTheGoodFramesBefore) {
  std::string bytes;
  append_frame(bytes, numbered(1));
  write_raw(bytes + std::string("\x02\0\0\0\xff\xff", 6));
  start();
  context_.run();
  EXPECT_THAT(received_, testing::ElementsAre(1));
  expect_closed(TransportError::kBadFrame, "begins ff ff");
}

TEST_F(ControlChannelTest, APeerThatDoesNotReadIsGivenUp) {
  start();
  for (std::uint64_t i = 0; i < 100 && channel_->is_open(); ++i) {
    channel_->send(numbered(i, 100'000));
    EXPECT_TRUE(closed_.empty()) << "reported inside send()";
    context_.poll();
  }
  expect_closed(TransportError::kOutgoingFull, "at most 1048576");
}

TEST_F(ControlChannelTest, AFrameThatIsTooLargeIsSaidToBeAndNothingElseHappens) {
  start();
  EXPECT_EQ(channel_->send(numbered(1, kMaxFrameBytes)), Sent::kTooLarge);
  EXPECT_EQ(channel_->outgoing_bytes(), 0u);
  EXPECT_EQ(channel_->send(numbered(2)), Sent::kYes);
  channel_->close();
  EXPECT_EQ(channel_->send(numbered(3)), Sent::kClosed);
}

TEST_F(ControlChannelTest, SaysEachTimeThatAllOfItIsWithTheKernel) {
  int n_drained = 0;
  std::uint64_t n_received = 0;
  channel_->on_drained([&] {
    EXPECT_EQ(channel_->outgoing_bytes(), 0u);
    ++n_drained;
  });
  start();
  for (std::uint64_t i = 0; i < 8; ++i) channel_->send(numbered(i, 100'000));
  context_.poll();
  EXPECT_EQ(n_drained, 0) << "nobody reads yet, and the socket holds less";
  ControlChannel other(context_, peer_.release(), "front");
  other.start(
      [&](const Frame&) {
        if (++n_received == 8) channel_->send(numbered(9)), other.close();
      },
      [](const Error&) {});
  while (n_drained < 2 && context_.run_one() > 0) continue;
  EXPECT_EQ(n_received, 8u);
  EXPECT_EQ(n_drained, 2);
}

TEST_F(ControlChannelTest, CloseWhenSentSendsEverythingFirst) {
  std::vector<std::uint64_t> received;
  std::optional<Error> closed;
  ControlChannel other(context_, peer_.release(), "front");
  other.start([&](const Frame& frame) { received.push_back(frame.prepare_failed().epoch()); },
              [&](const Error& why) { closed = why; });
  start();
  for (std::uint64_t i = 0; i < 8; ++i) channel_->send(numbered(i, 100'000));
  channel_->close_when_sent();
  channel_->send(numbered(99));  // too late: dropped
  context_.run();
  EXPECT_EQ(received.size(), 8u);
  EXPECT_TRUE(closed && closed->is(TransportError::kPeerClosed));
  EXPECT_TRUE(closed_.empty()) << "its own close is not reported to itself";
}

TEST_F(ControlChannelTest, NoCallbackComesAfterClose) {
  start();
  std::string bytes;
  append_frame(bytes, numbered(1));
  write_raw(bytes);
  channel_->close();
  channel_->send(numbered(2));
  context_.run();
  EXPECT_TRUE(received_.empty() && closed_.empty());
}

TEST_F(ControlChannelTest, MayBeDestroyedInsideItsOwnCallback) {
  int n = 0;
  channel_->start([&](const Frame&) { ++n, channel_.reset(); }, [](const Error&) { ADD_FAILURE(); });
  std::string bytes;
  append_frame(bytes, numbered(1));
  append_frame(bytes, numbered(2));
  write_raw(bytes);
  context_.run();
  EXPECT_EQ(n, 1);
}

}  // namespace
}  // namespace concertina::transport
