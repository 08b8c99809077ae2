#include "transport/frame_decoder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "transport/control.pb.h"

namespace concertina::transport {
namespace {

using testing::HasSubstr;

std::string stream_of(int n_frames) {
  std::string stream;
  for (int i = 0; i < n_frames; ++i) {
    Frame frame;
    frame.mutable_drop()->set_request(static_cast<std::uint64_t>(i) * 1000);
    append_frame(stream, frame);
  }
  return stream;
}

TEST(FrameDecoder, FindsEveryFrameHoweverTheBytesAreCut) {
  const std::string stream = stream_of(50);
  for (const std::size_t piece :
       {std::size_t{1}, std::size_t{3}, std::size_t{7}, std::size_t{100}, stream.size()}) {
    FrameDecoder decoder(1024);
    std::uint64_t n = 0;
    for (std::size_t i = 0; i < stream.size(); i += piece) {
      const std::span<const char> bytes(stream.data() + i, std::min(piece, stream.size() - i));
      ASSERT_TRUE(decoder.feed(bytes, [&](const Frame& frame) {
        EXPECT_EQ(frame.drop().request(), 1000 * n++);
        return true;
      }));
    }
    EXPECT_EQ(n, 50u);
    EXPECT_EQ(decoder.pending_bytes(), 0u);
  }
}

TEST(FrameDecoder, TheLengthIsLittleEndian) {
  const std::string stream = stream_of(1);
  ASSERT_EQ(stream.size(), 4u + 2u);  // an empty Drop: tag and length 0
  EXPECT_EQ(stream.substr(0, 4), std::string("\x02\0\0\0", 4));
}

TEST(FrameDecoder, StopsWhenTheReceiverHasEnough) {
  FrameDecoder decoder(1024);
  int n = 0;
  ASSERT_TRUE(decoder.feed(stream_of(5), [&](const Frame&) { return ++n < 2; }));
  EXPECT_EQ(n, 2);
}

TEST(FrameDecoder, NamesAnImpossibleLength) {
  FrameDecoder decoder(1024);
  const Status status = decoder.feed(std::string("GET / HTTP"), [](const Frame&) { return true; });
  ASSERT_FALSE(status);
  EXPECT_TRUE(status.error().is(TransportError::kBadFrame));
  EXPECT_THAT(status.error().message(), HasSubstr("542393671 bytes; at most 1024"));
}

TEST(FrameDecoder, NamesWhatIsNoMessage) {
  FrameDecoder decoder(1024);
  const Status status =
      decoder.feed(std::string("\x03\0\0\0\xff\xff\xff", 7), [](const Frame&) { return true; });
  ASSERT_FALSE(status);
  EXPECT_THAT(status.error().message(), HasSubstr("3 bytes is not a message; it begins ff ff ff"));
}

TEST(FrameDecoder, AMessageOfANewerBuildIsDelivered) {
  FrameDecoder decoder(1024);
  int n = 0;
  // Field 1000, length-delimited, empty: unknown to this build.
  ASSERT_TRUE(decoder.feed(std::string("\x03\0\0\0\xc2\x3e\0", 7), [&](const Frame& frame) {
    EXPECT_EQ(frame.message_case(), Frame::MESSAGE_NOT_SET);
    return ++n > 0;
  }));
  EXPECT_EQ(n, 1);
}

}  // namespace
}  // namespace concertina::transport
