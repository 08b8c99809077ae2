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

std::vector<std::string> matches(std::string_view pattern, std::string_view text) {
  std::vector<std::string> found;
  Regex::compile(pattern).value().for_each_match(
      text, [&](TextRange match) { found.emplace_back(match.of(text)); });
  return found;
}

// What Hugging Face's library (Oniguruma 6.9, Ruby syntax) matches, where PCRE2 alone would do otherwise.
TEST(Regex, MatchesAsOnigurumaDoes) {
  const char* mongolian =
      "a\u180Eb\u00A0\u2003c";  // U+180E is white space to PCRE2, not to Unicode since 6.3
  EXPECT_THAT(matches("\\s", mongolian), ElementsAre("\u00A0", "\u2003"));
  EXPECT_THAT(matches("\\S+", mongolian), ElementsAre("a\u180Eb", "c"));
  EXPECT_THAT(matches("[^\\s]+", mongolian), ElementsAre("a\u180Eb", "c"));
  EXPECT_THAT(matches("[[:space:]]", mongolian), ElementsAre("\u00A0", "\u2003"));
  EXPECT_THAT(matches("[[:^space:]]+", mongolian), ElementsAre("a\u180Eb", "c"));
  EXPECT_THAT(matches("\\w+", "e\u0301_\u203F\u00B2 \u2460"), ElementsAre("e\u0301_\u203F\u00B2"));
  EXPECT_THAT(matches("[\\w]+", "e\u0301\u00B2x"), ElementsAre("e\u0301", "x"));
  EXPECT_THAT(matches("e\\b", "e\u0301 e"), ElementsAre("e"));
  EXPECT_THAT(matches("\\v", "\n\v\r"), ElementsAre("\v"));
  EXPECT_THAT(matches("\\u0061", "ab"), ElementsAre("a"));
  EXPECT_THAT(matches("\\p{Han}", "\u3001\u6F22"), ElementsAre("\u6F22"));  // no script extensions
  EXPECT_THAT(matches("\\d{1,3}+1", "12341"), ElementsAre("12341"));        // not possessive
  EXPECT_THAT(matches("(?:ab){1,2}+b", "abababb"), ElementsAre("abababb"));
  EXPECT_THAT(matches("x{,2}y", "xxxy"), ElementsAre("xxy"));
  EXPECT_THAT(matches("a$", "a\nba"), ElementsAre("a", "a"));
  EXPECT_THAT(matches("[a{1,2}+]+", "{1+"), ElementsAre("{1+"));
  EXPECT_THAT(matches("\\p{Letter}\\p{Alpha}", "ab"), ElementsAre("ab"));
}

TEST(Split, CutsWhereAnEmptyMatchIs) {
  EXPECT_THAT(split("$", SplitBehavior::kIsolated, "a\nb"), ElementsAre("a", "\nb"));
  EXPECT_THAT(split("(?=b)", SplitBehavior::kIsolated, "abab"), ElementsAre("a", "ba", "b"));
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
