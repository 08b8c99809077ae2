#include "transport/frame_decoder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

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

RC_GTEST_PROP(FrameDecoder, FindsEveryFrameHoweverTheBytesAreCut, ()) {
  const auto tokens = *rc::gen::container<std::vector<std::vector<std::int32_t>>>(
      rc::gen::container<std::vector<std::int32_t>>(rc::gen::inRange(0, 1 << 24)));
  std::string stream;
  for (const auto& fed : tokens) {
    Frame frame;
    frame.mutable_feed()->mutable_tokens()->Add(fed.begin(), fed.end());
    append_frame(stream, frame);
  }
  FrameDecoder decoder(1 << 20);
  std::vector<std::vector<std::int32_t>> found;
  for (std::size_t at = 0; at < stream.size();) {
    const std::size_t n = *rc::gen::inRange<std::size_t>(1, stream.size() - at + 1);
    RC_ASSERT(decoder
                  .feed({stream.data() + at, n},
                        [&](const Frame& frame) {
                          found.emplace_back(frame.feed().tokens().begin(), frame.feed().tokens().end());
                          return true;
                        })
                  .has_value());
    at += n;
  }
  RC_ASSERT(found == tokens);
  RC_ASSERT(decoder.pending_bytes() == 0u);
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
