#include "tokenizer/streaming_detokenizer.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>
#include <random>

#include "base/random.h"
#include "base/utf8.h"
#include "tokenizer/normal_form.h"

namespace concertina::tokenizer {
namespace {

const Tokenizer& demo() {
  static const Tokenizer tokenizer =
      Tokenizer::load(std::filesystem::path(CONCERTINA_SOURCE_DIR) / "models/demo").value();
  return tokenizer;
}

// One seed that never changes, and one that is new each time; TOKENIZER_TEST_SEED replays that.
std::vector<std::uint64_t> seeds() {
  const char* given = std::getenv("TOKENIZER_TEST_SEED");
  const std::uint64_t drawn = given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device()();
  std::cout << "TOKENIZER_TEST_SEED=" << drawn << "\n";
  return {1, drawn};
}

std::string random_text(Random& random, std::size_t n_characters) {
  constexpr std::pair<char32_t, char32_t> kRanges[] = {
      {0x20, 0x7E},     {0x20, 0x7E},     {0, 0x1F},          {0xA0, 0x24F},
      {0x300, 0x36F},   {0x400, 0x6FF},   {0x1100, 0x11FF},   {0xAC00, 0xAD00},
      {0x4E00, 0x4F00}, {0xE000, 0xFFFD}, {0x1F300, 0x1FAFF}, {0x10000, 0x10FFFF}};
  std::string text;
  for (std::size_t i = 0; i < n_characters; ++i) {
    const auto [first, last] = kRanges[random.below(std::size(kRanges))];
    append_utf8(first + static_cast<char32_t>(random.below(last - first + 1)), text);
    if (random.below(40) == 0) text += "<|im_end|>";
    if (random.below(40) == 0) text += std::string(random.below(6), ' ') + "\n";
  }
  return text;
}

std::string random_bytes(Random& random, std::size_t n) {
  std::string bytes;
  for (std::size_t i = 0; i < n; ++i) {
    // Lead and continuation bytes more often than chance: beginnings of characters that go on wrongly.
    const std::uint64_t kind = random.below(4);
    const std::uint64_t byte = kind == 0   ? random.below(256)
                               : kind == 1 ? 0x80 + random.below(64)
                                           : 0xC0 + random.below(64);
    bytes += static_cast<char>(kind == 3 ? random.below(128) : byte);
  }
  return bytes;
}

void expect_stream_is_whole(const std::vector<TokenId>& ids, SkipSpecialTokens skip) {
  const std::string whole = demo().decode(ids, skip);
  StreamingDetokenizer stream(demo(), skip);
  std::string joined;
  for (const TokenId id : ids) {
    const std::string piece = stream.push(id);
    ASSERT_TRUE(is_valid_utf8(piece));
    joined += piece;
    ASSERT_TRUE(whole.starts_with(joined));
  }
  joined += stream.flush();
  ASSERT_EQ(joined, whole);
}

TEST(Detokenizer, GivesBackEveryNormalizedText) {
  for (const std::uint64_t seed : seeds()) {
    SCOPED_TRACE(testing::Message() << "TOKENIZER_TEST_SEED=" << seed);
    Random random(seed);
    for (int i = 0; i < 300; ++i) {
      const std::string text = to_nfc(random_text(random, random.below(80)));
      // Text next to a special token is normalized apart from what comes after it: compare in normal form.
      const std::string back =
          demo().decode(demo().encode(text, AddSpecialTokens::kNo), SkipSpecialTokens::kNo);
      ASSERT_EQ(to_nfc(back), text);
    }
  }
}

TEST(Detokenizer, GivesBackBytesThatAreNoTextWithReplacementCharacters) {
  for (const std::uint64_t seed : seeds()) {
    SCOPED_TRACE(testing::Message() << "TOKENIZER_TEST_SEED=" << seed);
    Random random(seed);
    for (int i = 0; i < 300; ++i) {
      const std::string bytes = random_bytes(random, random.below(60));
      const std::string back =
          demo().decode(demo().encode(bytes, AddSpecialTokens::kNo), SkipSpecialTokens::kNo);
      ASSERT_EQ(back, to_nfc(replace_invalid_utf8(bytes)));
    }
  }
}

TEST(StreamingDetokenizer, GivesPrefixesOfTheWholeForAnyTokens) {
  for (const std::uint64_t seed : seeds()) {
    SCOPED_TRACE(testing::Message() << "TOKENIZER_TEST_SEED=" << seed);
    Random random(seed);
    for (int i = 0; i < 300; ++i) {
      std::vector<TokenId> ids;
      // Ids 0..255 are single bytes: most of what they spell is not UTF-8. Some ids are of no token.
      for (std::size_t n = random.below(50); n > 0; --n) {
        ids.push_back(static_cast<TokenId>(random.below(random.below(3) == 0 ? 4200 : 256)));
      }
      ids.push_back(i % 2 == 0 ? 4095 : -1);
      expect_stream_is_whole(ids, i % 3 == 0 ? SkipSpecialTokens::kYes : SkipSpecialTokens::kNo);
    }
  }
}

TEST(StreamingDetokenizer, HoldsBackHalfACharacterAndSaysSoAtTheEnd) {
  const auto ids = demo().encode("日", AddSpecialTokens::kNo);
  ASSERT_EQ(ids.size(), 3u);
  StreamingDetokenizer stream(demo(), SkipSpecialTokens::kYes);
  EXPECT_EQ(stream.push(ids[0]), "");
  EXPECT_EQ(stream.push(4095), "");  // a special token that is skipped parts nothing
  EXPECT_EQ(stream.push(ids[1]), "");
  EXPECT_EQ(stream.push(ids[2]), "日");
  EXPECT_EQ(stream.push(ids[0]), "");
  EXPECT_EQ(stream.push(ids[0]), "\uFFFD");  // the first cannot go on so
  EXPECT_EQ(stream.flush(), "\uFFFD");
  EXPECT_EQ(stream.flush(), "");
}

// Unicode, section 3.9, table 3-8: one U+FFFD for each maximal subpart.
TEST(Utf8, ReplacesMaximalSubparts) {
  EXPECT_EQ(replace_invalid_utf8("\x61\xF1\x80\x80\xE1\x80\xC2\x62\x80\x63\x80\xBF\x64"),
            "a\uFFFD\uFFFD\uFFFDb\uFFFDc\uFFFD\uFFFDd");
  EXPECT_EQ(replace_invalid_utf8("\xC0\xAF\xED\xA0\x80\xF4\x91\x92\x93\xFF"),
            "\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD");
}

TEST(Normalizer, OrdersAndComposes) {
  EXPECT_EQ(to_nfc("e\u0301"), "é");
  EXPECT_EQ(to_nfc("a\u0315\u0300\u05ae\u0300b"),
            "\u00e0\u05ae\u0300\u0315b");  // a line of NormalizationTest.txt
  EXPECT_EQ(to_nfc("\u1100\u1161\u11A8"), "각");
  EXPECT_EQ(to_nfc("\u212B\uFB01"), "Å\uFB01");
}

}  // namespace
}  // namespace concertina::tokenizer
