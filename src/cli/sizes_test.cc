#include "cli/sizes.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace concertina::cli {
namespace {

TEST(Sizes, AreReadInTheUnitsThatPeopleWrite) {
  EXPECT_EQ(parse_bytes("256MiB").value(), 256u << 20);
  EXPECT_EQ(parse_bytes("1.5 GB").value(), 1500000000u);
  EXPECT_EQ(parse_bytes("2g").value(), std::uint64_t{2} << 30);
  EXPECT_EQ(text_of_bytes(256u << 20), "256MiB");
  for (const char* text : {"", "MiB", "-1", "0", "0x10", "nan", "1e400", "1 XiB", "1e16"})
    EXPECT_FALSE(parse_bytes(text)) << text;
}

RC_GTEST_PROP(Sizes, AreReadAsTheyWereWritten, ()) {
  // Up to 2^49: a double, which "1.5GB" needs, holds each of them.
  const auto bytes = *rc::gen::inRange<std::uint64_t>(1, 1 << 20) << *rc::gen::inRange(0, 30);
  RC_ASSERT(parse_bytes(text_of_bytes(bytes)).value() == bytes);
}

}  // namespace
}  // namespace concertina::cli
