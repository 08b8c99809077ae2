#include "worker/control_link.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "transport/control.pb.h"
#include "transport/control_channel.h"

namespace concertina::worker {
namespace {

TEST(ControlLink, AFrontThatDoesNotReadMakesTheSenderWaitAndLosesNothing) {
  constexpr std::size_t kFrames = 300, kBytes = 1 << 20;  // more than the channel may hold
  auto ends = transport::make_socket_pair();
  ASSERT_TRUE(ends);
  ControlLink link(
      ends->first.release(), [](const transport::Frame&) {},
      [](const Error& why) { ADD_FAILURE() << why.message(); });
  link.start();
  std::atomic<std::size_t> n_sent = 0;
  std::thread sender([&] {
    for (std::size_t i = 0; i < kFrames; ++i, ++n_sent) {
      transport::Frame frame;
      frame.mutable_prepare_failed()->set_epoch(i);
      frame.mutable_prepare_failed()->set_error(std::string(kBytes, 'x'));
      link.send(std::move(frame));
    }
  });
  while (n_sent < ControlLink::kMaxUnsentBytes / kBytes - 2) std::this_thread::yield();
  EXPECT_LE(n_sent, ControlLink::kMaxUnsentBytes / kBytes + 2);
  transport::EventLoop loop;
  transport::ControlChannel front(loop.context(), ends->second.release(), "rank 0");
  std::size_t n_received = 0;
  front.start(
      [&](const transport::Frame& frame) {
        EXPECT_EQ(frame.prepare_failed().epoch(), n_received++);
        if (n_received == kFrames) loop.stop();
      },
      [&](const Error& why) {
        ADD_FAILURE() << why.message();
        loop.stop();
      });
  loop.run();
  sender.join();
  EXPECT_EQ(n_received, kFrames);
  link.stop();
}

}  // namespace
}  // namespace concertina::worker
