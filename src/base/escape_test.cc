#include "base/escape.h"

#include <gtest/gtest.h>

namespace concertina {
namespace {

TEST(Escape, LeavesTextAloneAndTakesTheHarmOutOfTheRest) {
  EXPECT_EQ(escaped("Grüße, 世界 😀 \\ \"x\""), "Grüße, 世界 😀 \\ \"x\"");
  EXPECT_EQ(escaped("a\nFAKE 12:00 error"), "a\\nFAKE 12:00 error");
  EXPECT_EQ(escaped("\x1b[2J\x1b]0;title\x07"), "\\x1b[2J\\x1b]0;title\\x07");
  EXPECT_EQ(escaped(std::string_view("\0\x7f\r\t", 4)), "\\x00\\x7f\\r\\t");
  EXPECT_EQ(escaped("\u009b31m"), "\\u009b31m") << "a terminal may take C1 for ESC [";
  EXPECT_EQ(escaped("\u202egpj.exe\u2066\u2028"), "\\u202egpj.exe\\u2066\\u2028");
}

TEST(Escape, BytesThatAreNoUtf8AreShownAsBytes) {
  EXPECT_EQ(escaped("\x9b"), "\\x9b");
  EXPECT_EQ(escaped("a\xc3"), "a\\xc3");
  EXPECT_EQ(escaped("\xc0\x8a|\xed\xa0\x80|\xf5"), "\\xc0\\x8a|\\xed\\xa0\\x80|\\xf5")
      << "long forms, surrogates";
}

TEST(Escape, AnAnswerKeepsItsLines) {
  EXPECT_EQ(escaped("a\n\tb\r\x1b[0m", Keep::kLinesAndTabs), "a\n\tb\\r\\x1b[0m");
}

}  // namespace
}  // namespace concertina
