#include "grammar/answer.h"

#include <gmock/gmock.h>

#include <random>

#include "grammar/grammar_of.h"
#include "grammar/packed_vocabulary.h"
#include "grammar/source_cache.h"

namespace concertina::grammar {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr TokenId kEos = 0, kThink = 1;  // no text
constexpr TokenId token_of(char byte) { return 2 + static_cast<unsigned char>(byte); }

// A request whose prompt is no part of its answer.
class AnswerTest : public testing::Test {
 protected:
  AnswerTest() { request.stop.eos_token_ids = {kEos}; }

  // Which of these characters may come next, and '$' where an end may.
  std::string next(const std::string& among = "0123456789ab\"{}") {
    std::vector<std::uint64_t> mask(grammar_->vocabulary().n_mask_words(), ~std::uint64_t{0});
    if (!answer_) answer_.emplace(grammar_, request);
    if (!answer_->fill_mask(request, mask)) return "anything";
    const auto allows = [&](TokenId token) { return (mask[token / 64] >> (token % 64) & 1) != 0; };
    std::string allowed;
    for (const char one : among)
      if (allows(token_of(one))) allowed += one;
    if (allows(kEos)) allowed += '$';
    if (allows(kThink)) allowed += '?';
    return allowed;
  }
  void ask(Language language, const std::string& source, std::vector<TokenId> begins_after = {},
           std::optional<TokenId> thought_begin = {}) {
    grammar_ = grammar_of(language, source);
    request.structure = request::Structure{language, source, std::move(begins_after), thought_begin};
  }
  void write(const std::string& text) {
    for (const char one : text) request.tokens.push_back(token_of(one));
  }

  request::Request request{.tokens = {token_of('9'), token_of('9')}, .n_prompt_tokens = 2};
  std::shared_ptr<const CompiledGrammar> grammar_;
  std::optional<Answer> answer_;
};

TEST_F(AnswerTest, AnEndIsAllowedExactlyWhereTheTextIsComplete) {
  ask(Language::kRegex, "[0-3]{2,3}");
  EXPECT_EQ(next(), "0123");
  write("1");
  EXPECT_EQ(next(), "0123");
  write("2");
  EXPECT_EQ(next(), "0123$");
  write("3");
  EXPECT_EQ(next(), "$");
}

// Else the answer would end there, in the middle of a text.
TEST_F(AnswerTest, AStopTokenThatIsTextIsRefusedWhereTheTextIsNotComplete) {
  ask(Language::kRegex, "a[ab]{2}b?");
  request.stop.stop_token_ids = {token_of('b')};
  write("a");
  EXPECT_EQ(next(), "a");
  write("a");
  EXPECT_EQ(next(), "a");
  write("a");
  EXPECT_EQ(next(), "b$");
}

TEST_F(AnswerTest, BehindAnEosThatIsIgnoredOnlyEosFollows) {
  ask(Language::kRegex, "a+");
  request.stop.ignore_eos = true;
  write("a");
  EXPECT_EQ(next(), "a$");
  request.tokens.push_back(kEos);
  EXPECT_EQ(next(), "$");
  request.tokens.push_back(kEos);
  EXPECT_EQ(next(), "$");
}

TEST_F(AnswerTest, HoldsFromTheEndOfTheThoughtOn) {
  ask(Language::kRegex, "[12]", {token_of('b'), token_of('b')});
  EXPECT_EQ(next(), "anything");
  write("1ba");
  EXPECT_EQ(next(), "anything");
  write("abb");
  EXPECT_EQ(next(), "12");
  write("1");
  EXPECT_EQ(next(), "$");
}

TEST_F(AnswerTest, AModelThatMayThinkDoesOrAnswersAtOnce) {
  ask(Language::kRegex, "[12]", {token_of('b')}, kThink);
  EXPECT_EQ(next(), "12?");
  request.tokens.push_back(kThink);
  EXPECT_EQ(next(), "anything");
  write("7b");
  EXPECT_EQ(next(), "12");
  request.tokens.resize(request.n_prompt_tokens);
  write("2");
  EXPECT_EQ(next(), "$") << "it did not think, and may not begin to";
}

TEST_F(AnswerTest, WhatNoMaskAllowedIsFollowedByNothing) {
  ask(Language::kRegex, "a+");
  write("b");
  EXPECT_THAT(next(), IsEmpty());
}

// What moves, what was preempted, and what is told of at once.
TEST_F(AnswerTest, IsAFunctionOfTheTokensWheneverItReadThem) {
  ask(Language::kJsonObject, "");
  std::mt19937 random(20261127);
  const std::string among = "{\"ab\":01,}";
  for (int round = 0; round < 200; ++round) {
    request.tokens.resize(request.n_prompt_tokens + random() % (request.tokens.size() - 1));
    for (int i = static_cast<int>(random() % 5); i > 0; --i) {
      const std::string allowed = next(among);
      std::string characters;
      for (const char one : allowed)
        if (one != '$') characters += one;
      if (characters.empty()) break;
      write(std::string(1, characters[random() % characters.size()]));
    }
    const std::string followed = next(among);
    answer_.reset();
    ASSERT_EQ(next(among), followed) << "round " << round;
  }
}

TEST(PackedVocabulary, ArrivesAsItWasSent) {
  const std::vector<std::string> texts = {"", "a", std::string("\0\xff", 2), std::string(300, 'x'), ""};
  const auto arrived = unpack_vocabulary(pack_vocabulary(texts));
  ASSERT_TRUE(arrived) << arrived.error().message();
  EXPECT_EQ(*arrived, texts);
  EXPECT_THAT(*unpack_vocabulary(pack_vocabulary({std::string(70'000, 'x'), "b"})), ElementsAre("", "b"));
}

TEST(PackedVocabulary, OneThatWasCutIsRefused) {
  const std::string packed = pack_vocabulary({"a", "bcd"});
  for (std::size_t n = 0; n < packed.size(); ++n) {
    const auto arrived = unpack_vocabulary(packed.substr(0, n));
    if (n == 0 || n == 3) continue;  // between two tokens
    ASSERT_FALSE(arrived) << n;
    EXPECT_THAT(arrived.error().message(), HasSubstr("ends within token"));
  }
}

request::SharedStructure regex(const std::string& source) {
  return request::Structure{Language::kRegex, source, {}, {}};
}

TEST(SourceCache, KeepsWhatWasAskedForLastWithinItsBounds) {
  SourceCache<int> cache({.max_entries = 3, .max_bytes = 100});
  for (const int i : {1, 2, 3}) EXPECT_THAT(cache.keep(regex(std::string(i, 'a')), i, 10), IsEmpty());
  EXPECT_NE(cache.find(*regex("a")), nullptr);
  EXPECT_EQ(cache.find({Language::kEbnf, "a", {}, {}}), nullptr) << "in another language";
  EXPECT_THAT(cache.keep(regex("b"), 4, 10), ElementsAre(2));
  EXPECT_THAT(cache.keep(regex("c"), 5, 80), ElementsAre(3, 1));
  EXPECT_THAT(cache.keep(regex("d"), 6, 100), ElementsAre(4, 5, 6)) << "larger than all that is kept";
  EXPECT_EQ(cache.size(), 0u);
  EXPECT_EQ(cache.n_bytes(), 0u);
}

}  // namespace
}  // namespace concertina::grammar
