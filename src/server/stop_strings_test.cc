#include "server/openai/stop_strings.h"

#include <gtest/gtest.h>

#include "base/random.h"

namespace concertina::server::openai {
namespace {

std::shared_ptr<const StopTable> table(std::vector<std::string> strings) {
  return std::make_shared<StopTable>(std::move(strings));
}

TEST(StopStrings, HoldsBackWhatMayBecomeOneAndLetsTheRestThrough) {
  StopStrings stop(table({"END", "\n\n"}));
  EXPECT_EQ(stop.push("a\n").text, "a");
  EXPECT_EQ(stop.push("b E").text, "\nb ");
  EXPECT_EQ(stop.push("N").text, "");
  const auto last = stop.push("Dxyz");
  EXPECT_EQ(last.text, "");
  EXPECT_EQ(last.hit, StopStrings::Step::Hit::kYes);
}

TEST(StopStrings, WhatWasHeldBackComesWhenTheStreamEndsOtherwise) {
  StopStrings stop(table({"END"}));
  EXPECT_EQ(stop.push("the EN").text, "the ");
  EXPECT_EQ(stop.flush(), "EN");
}

// However the text is cut into pieces, what is let through is the text before the first stop string.
TEST(StopStrings, DoesNotDependOnHowTheTextIsCut) {
  for (std::uint64_t seed = 1; seed <= 500; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Random random(seed);
    const auto word = [&](std::size_t n) {
      std::string out;
      for (std::size_t i = 0; i < n; ++i) out.push_back(static_cast<char>('a' + random.below(2)));
      return out;
    };
    const std::vector<std::string> stops{word(2 + random.below(5)), word(3 + random.below(5))};
    const std::string text = word(40);
    const std::size_t first = std::min(text.find(stops[0]), text.find(stops[1]));
    StopStrings stop(table(stops));
    std::string out;
    bool hit = false;
    for (std::size_t at = 0; at < text.size() && !hit;) {
      const std::size_t n = 1 + random.below(6);
      const auto step = stop.push(std::string_view(text).substr(at, n));
      out += step.text;
      hit = step.hit == StopStrings::Step::Hit::kYes;
      at += n;
    }
    if (!hit) out += stop.flush();
    EXPECT_EQ(hit, first != std::string::npos);
    EXPECT_TRUE(text.starts_with(out));
    if (!hit) {
      EXPECT_EQ(out, text);
    } else {
      EXPECT_GE(out.size(), first) << "an earlier piece may have completed the later of two that overlap";
    }
  }
}

// "aaa...b" held back by "aaa...c" in every place: the naive search compares all of it at each byte, 10^11
// steps.
TEST(StopStrings, ALongStringThatNearlyMatchesCostsAFewStepsAByte) {
  constexpr std::size_t kBytes = 400000;
  StopStrings stop(table({std::string(kBytes, 'a') + "b", std::string(kBytes, 'a') + "c"}));
  std::size_t n_through = 0;
  for (std::size_t i = 0; i < kBytes / 1000; ++i) n_through += stop.push(std::string(1000, 'a')).text.size();
  EXPECT_EQ(n_through, 0u);
  for (std::size_t i = 0; i < 100; ++i) n_through += stop.push(std::string(1000, 'a')).text.size();
  EXPECT_EQ(n_through, 100000u);
  EXPECT_EQ(stop.push("b").hit, StopStrings::Step::Hit::kYes);
}

}  // namespace
}  // namespace concertina::server::openai
