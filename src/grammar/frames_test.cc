#include "grammar/frames.h"

#include <gmock/gmock.h>
#include <rapidcheck/gtest.h>

#include "grammar/grammar_of.h"

namespace concertina::grammar {
namespace {

bool is_of(const char* frames, std::string_view text) { return accepts(Language::kFrames, frames, text); }

TEST(Frames, AreTextAroundDocuments) {
  const char* frames = R"E({"schemas": [{"type": "object", "properties": {"city": {"$ref": "#/$defs/name"}},
      "required": ["city"], "additionalProperties": false, "$defs": {"name": {"enum": ["Oslo", "Rome"]}}}, true],
      "frame": ["f(", {"schema": 0}, ")", {"maybe": [" or ", {"schema": 1}]}]})E";
  EXPECT_TRUE(is_of(frames, R"E(f({"city": "Oslo"}))E"));
  EXPECT_TRUE(is_of(frames, R"E(f({"city":"Rome"}) or [1, {}])E"));
  EXPECT_FALSE(is_of(frames, R"E(f({"city": "Bonn"}))E"));
  EXPECT_FALSE(is_of(frames, R"E(f({"city": "Oslo"}) or )E"));
  EXPECT_FALSE(is_of(frames, R"({"city": "Oslo"})"));
}

TEST(Frames, AreRepeatedWithTextBetweenThem) {
  const char* frames = R"({"frame": {"some": {"any_of": ["a", ["b", {"some": "c"}]]}, "between": "; "}})";
  for (const char* text : {"a", "a; a", "bc; a; bccc"}) EXPECT_TRUE(is_of(frames, text)) << text;
  for (const char* text : {"", "a; ", "aa", "b", "; a"}) EXPECT_FALSE(is_of(frames, text)) << text;
}

TEST(Frames, OfExpressionsMatchAsAWholeOrSomewhere) {
  EXPECT_TRUE(is_of(R"({"frame": [{"regex": "[0-9]+"}, ":"]})", "12:"));
  EXPECT_FALSE(is_of(R"({"frame": [{"regex": "[0-9]+"}, ":"]})", "a12:"));
  EXPECT_TRUE(is_of(R"({"frame": {"pattern": "b+$"}})", "abb"));
  EXPECT_FALSE(is_of(R"({"frame": {"pattern": "b+$"}})", "ba"));
}

TEST(Frames, ATextEndsWithItsFirstMark) {
  const char* frames = R"({"frame": [{"up_to": ["</a>", "</ab>"]}, "!"]})";
  for (const char* text : {"</a>!", "x </a</ab>!", "<<</a>!", "\xE2\x82\xAC</a>!"})
    EXPECT_TRUE(is_of(frames, text)) << text;
  for (const char* text : {"</a>", "x!", "</a></a>!", "</a>x</ab>!"})
    EXPECT_FALSE(is_of(frames, text)) << text;
  const char* none_before = R"({"frame": {"up_to": ["<end>"], "without": ["<en", "x"]}})";
  EXPECT_FALSE(is_of(none_before, "a<e</e<end>")) << "a mark that begins another one stands before it";
  EXPECT_TRUE(is_of(R"({"frame": {"up_to": ["<end>"], "without": ["x"]}})", "a<e</e<end>"));
  EXPECT_FALSE(is_of(R"({"frame": {"up_to": ["<end>"], "without": ["x"]}})", "ax<end>"));
}

// The reference looks for each mark in each text.
RC_GTEST_PROP(Frames, ATextWithoutMarksHasNoneOfThem, ()) {
  const std::vector<std::string> marks = {"aba", "\xE2\x82\xAC\xE2\x82\xAC", "bb\xE2\x82\xAC"};
  const auto without =
      grammar_of(Language::kFrames, "{\"frame\": {\"without\": [\"aba\", \"\u20AC\u20AC\", \"bb\u20AC\"]}}");
  const auto up_to =
      grammar_of(Language::kFrames, "{\"frame\": {\"up_to\": [\"aba\", \"\u20AC\u20AC\", \"bb\u20AC\"]}}");
  std::string text;
  for (const int piece : *rc::gen::container<std::vector<int>>(rc::gen::inRange(0, 4)))
    text += std::vector<std::string>{"a", "b", "\xE2\x82\xAC", "ab"}[static_cast<std::size_t>(piece)];
  std::size_t first_end = text.npos;
  for (const std::string& mark : marks)
    if (const std::size_t at = text.find(mark); at != text.npos)
      first_end = std::min(first_end, at + mark.size());
  RC_ASSERT(accepts(without, text) == (first_end == text.npos));
  RC_ASSERT(accepts(up_to, text) == (first_end == text.size() && !text.empty()));
}

TEST(Frames, AMarkMayBeATokenOfItsOwnWhichIsNoTextElsewhere) {
  constexpr TokenId kCall = 256, kEnd = 257;
  std::vector<std::string> bytes;
  for (int byte = 0; byte < 256; ++byte)
    bytes.emplace_back(byte == 255 ? "" : std::string(1, static_cast<char>(byte)));
  bytes.push_back(special_token("<call>"));
  bytes.push_back(special_token("<end>"));
  const auto vocabulary = std::make_shared<const Vocabulary>(bytes, bytes.size());
  const auto grammar = CompiledGrammar::compile(
      Language::kFrames,
      R"({"schemas": [{"type": "string"}], "frame": [{"mark": "<call>"}, {"schema": 0}, {"up_to": ["<end>"]}]})",
      vocabulary);
  ASSERT_TRUE(grammar) << grammar.error().message();
  const auto reads = [&](std::vector<TokenId> tokens) {
    Matcher matcher(*grammar);
    for (const TokenId token : tokens) {
      std::vector<std::uint64_t> mask(vocabulary->n_mask_words());
      matcher.fill_mask(mask);
      const bool is_allowed = (mask[static_cast<std::size_t>(token) / 64] >> (token % 64)) & 1;
      const bool is_accepted = matcher.accept(token) == Matcher::Accepted::kYes;
      EXPECT_EQ(is_allowed, is_accepted);
      if (!is_accepted) return false;
    }
    return matcher.is_complete();
  };
  EXPECT_TRUE(reads({kCall, '"', 'a', '"', 'x', kEnd}));
  EXPECT_TRUE(reads({'<', 'c', 'a', 'l', 'l', '>', '"', '"', '<', 'e', 'n', 'd', '>'})) << "or as its text";
  EXPECT_FALSE(reads({kCall, '"', kEnd})) << "within a string it is none";
  EXPECT_FALSE(reads({kEnd}));
}

TEST(Frames, WhatIsWrongIsNamedWithItsPlace) {
  const auto refused = [](const char* source) { return refusal(Language::kFrames, source); };
  using testing::HasSubstr;
  EXPECT_THAT(refused(R"([])"), HasSubstr("\"frame\" expected"));
  EXPECT_THAT(refused(R"({"frame": ["a", {"schema": 0}]})"), HasSubstr("#/frame/1/schema: the place of"));
  EXPECT_THAT(refused(R"({"frame": {"any_of": []}})"), HasSubstr("#/frame/any_of: an array of one or more"));
  EXPECT_THAT(refused(R"({"frame": {"some": 7}})"), HasSubstr("#/frame/some: a text, an array"));
  EXPECT_THAT(refused(R"({"frame": {"up_to": [""]}})"), HasSubstr("#/frame/up_to: an array of texts"));
  EXPECT_THAT(refused(R"({"frame": {"regex": "("}})"), HasSubstr("#/frame/regex"));
  EXPECT_THAT(refused(R"({"schemas": [{"type": "string"}, {"not": {}}], "frame": {"schema": 1}})"),
              testing::AllOf(HasSubstr("schemas[1]"), HasSubstr("not")));
}

}  // namespace
}  // namespace concertina::grammar
