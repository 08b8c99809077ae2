#include "tokenizer/pre_tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tokenizer/error.h"

namespace concertina::tokenizer {
namespace {

using testing::ElementsAre;

std::vector<std::string> split(std::string_view pattern, SplitBehavior behavior, std::string_view text,
                               SplitSide side = SplitSide::kMatch) {
  const SplitStep step{Regex::compile(pattern).value(), behavior, side};
  std::vector<std::string> direct, visited;
  for (const TextRange range : split_ranges(step, text)) direct.emplace_back(range.of(text));
  PreTokenizer({step}).split(text, Place::kTextBegin,
                             [&](std::string_view piece) { visited.emplace_back(piece); });
  EXPECT_EQ(direct, visited);
  return direct;
}

// The example of Hugging Face's documentation of SplitDelimiterBehavior.
TEST(Split, DoesWithAMatchWhatItsBehaviorSays) {
  const char* text = "the-final--countdown";
  EXPECT_THAT(split("-", SplitBehavior::kRemoved, text), ElementsAre("the", "final", "countdown"));
  EXPECT_THAT(split("-", SplitBehavior::kIsolated, text),
              ElementsAre("the", "-", "final", "-", "-", "countdown"));
  EXPECT_THAT(split("-", SplitBehavior::kMergedWithPrevious, text),
              ElementsAre("the-", "final-", "-", "countdown"));
  EXPECT_THAT(split("-", SplitBehavior::kMergedWithNext, text),
              ElementsAre("the", "-final", "-", "-countdown"));
  EXPECT_THAT(split("-", SplitBehavior::kContiguous, text),
              ElementsAre("the", "-", "final", "--", "countdown"));
}

TEST(Split, InvertedTakesWhatTheExpressionLeaves) {
  EXPECT_THAT(split("[a-z]+", SplitBehavior::kRemoved, "ab, cd!", SplitSide::kInverted),
              ElementsAre("ab", "cd"));
}

TEST(Split, HandlesMatchesAtBothEndsAndEmptyOnes) {
  EXPECT_THAT(split("-", SplitBehavior::kMergedWithPrevious, "-a-"), ElementsAre("-", "a-"));
  EXPECT_THAT(split("-", SplitBehavior::kMergedWithNext, "-a-"), ElementsAre("-a", "-"));
  EXPECT_THAT(split("x*", SplitBehavior::kIsolated, "äxxö"), ElementsAre("ä", "xx", "ö"));
  EXPECT_THAT(split("a", SplitBehavior::kIsolated, ""), ElementsAre());
}

TEST(Regex, RefusesWhatPcre2AndOnigurumaReadDifferently) {
  for (const char* pattern : {"[a&&b]", "[a[bc]]", "\\h+", "[\\w&&[^x]]"}) {
    const auto regex = Regex::compile(pattern);
    ASSERT_FALSE(regex) << pattern;
    EXPECT_TRUE(regex.error().is(TokenizerError::kUnsupported));
  }
  for (const char* pattern : {"a&&b", "[[:alpha:]]+", "[]a]", "[^]a]", "\\[a[\\[b]", "[a\\]b]"}) {
    EXPECT_TRUE(Regex::compile(pattern)) << pattern;
  }
  EXPECT_TRUE(Regex::compile("(").error().is(TokenizerError::kInvalid));
}

TEST(Regex, TakesALiteralAsItIs) {
  const Regex regex = Regex::compile_literal("a.[b]\\E +日").value();
  int n = 0;
  regex.for_each_match("axb a.[b]\\E +日", [&](TextRange match) {
    ++n;
    EXPECT_EQ(match.begin, 4u);
  });
  EXPECT_EQ(n, 1);
}

}  // namespace
}  // namespace concertina::tokenizer
