#include "worker/structures.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>

#include "base/check.h"
#include "grammar/packed_vocabulary.h"

namespace concertina::worker {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;
using Is = Structures::Is;

request::SharedStructure regex(const std::string& source) {
  return request::Structure{request::StructureLanguage::kRegex, source, {}, {}};
}

// Each token is the byte of its number, but for 0, the end.
std::vector<std::string> bytes() {
  std::vector<std::string> texts = {""};
  for (int byte = 1; byte < 200; ++byte) texts.emplace_back(1, static_cast<char>(byte));
  return texts;
}

std::shared_ptr<const grammar::CompiledGrammar> compiled(const request::SharedStructure& structure) {
  static const auto vocabulary = std::make_shared<const grammar::Vocabulary>(bytes(), 256);
  auto made = grammar::CompiledGrammar::compile(structure->language, structure->source, vocabulary);
  CHECK(made.has_value(), "{}", made.error().message());
  return *made;
}

class StructuresTest : public testing::Test {
 protected:
  Is begin(std::uint64_t id, const request::SharedStructure& structure) {
    return structures_.begin(RequestId(id), structure, now_);
  }
  void answer(const request::SharedStructure& structure, std::size_t n_bytes = 100) {
    structures_.on({structure, compiled(structure), n_bytes, ""});
  }
  Time now_{};
  std::vector<std::string> asked_, cancelled_;
  std::size_t n_discarded_ = 0;
  Structures structures_{256,
                         {[this](request::SharedStructure one) { asked_.push_back(one->source); },
                          [this](const auto& one) { cancelled_.push_back(one->source); },
                          [this](std::shared_ptr<const grammar::CompiledGrammar>) { ++n_discarded_; }}};
};

TEST_F(StructuresTest, EqualSourcesAreCompiledOnceAndThoseThatWaitForThemAreReadyTogether) {
  EXPECT_EQ(begin(1, regex("a")), Is::kAwaited);
  EXPECT_EQ(begin(2, regex("b")), Is::kAwaited);
  EXPECT_EQ(begin(3, regex("a")), Is::kAwaited);
  EXPECT_THAT(asked_, ElementsAre("a", "b"));
  answer(regex("a"));
  EXPECT_THAT(structures_.take_decided(), UnorderedElementsAre(RequestId(1), RequestId(3)));
  EXPECT_EQ(structures_.state(RequestId(2)), Is::kAwaited);
  EXPECT_EQ(begin(4, regex("a")), Is::kReady) << "it is kept";
  EXPECT_THAT(structures_.take_decided(), IsEmpty());
}

TEST_F(StructuresTest, OneThatFailsFailsThoseAloneThatAskForIt) {
  begin(1, regex("a"));
  begin(2, regex("b"));
  structures_.on({regex("a"), nullptr, 0, "why"});
  answer(regex("b"));
  EXPECT_EQ(structures_.state(RequestId(1)), Is::kFailed);
  EXPECT_EQ(structures_.failure(RequestId(1)), "why");
  EXPECT_EQ(structures_.state(RequestId(2)), Is::kReady);
  EXPECT_EQ(begin(3, regex("a")), Is::kAwaited) << "another answer may come";
}

TEST_F(StructuresTest, WhoWaitsForTooLongFailsAndWhoEndedIsNotHeardOf) {
  begin(1, regex("a"));
  now_ += std::chrono::seconds(1);
  begin(2, regex("b"));
  EXPECT_EQ(structures_.deadline(), Time{} + Structures::kMaxWait);
  structures_.on_time(Time{} + Structures::kMaxWait);
  EXPECT_THAT(structures_.take_decided(), ElementsAre(RequestId(1)));
  EXPECT_EQ(structures_.failure(RequestId(1)), "its grammar was not compiled within 60 s");
  structures_.end(RequestId(2));
  EXPECT_EQ(structures_.deadline(), std::nullopt);
  answer(regex("b"));
  EXPECT_THAT(structures_.take_decided(), IsEmpty());
  EXPECT_EQ(structures_.state(RequestId(2)), std::nullopt);
}

TEST_F(StructuresTest, WhatNobodyWaitsForAnyMoreIsNotCompiled) {
  for (const std::uint64_t id : {1, 2}) begin(id, regex("a"));
  structures_.end(RequestId(1));
  EXPECT_THAT(cancelled_, IsEmpty()) << "another waits";
  structures_.end(RequestId(2));
  EXPECT_THAT(cancelled_, ElementsAre("a"));
  begin(3, regex("a"));
  EXPECT_THAT(asked_, ElementsAre("a", "a"));
  structures_.on_time(Time{} + Structures::kMaxWait);
  EXPECT_THAT(cancelled_, ElementsAre("a", "a"));
  begin(4, regex("b"));
  answer(regex("b"));
  structures_.end(RequestId(4));
  EXPECT_THAT(cancelled_, ElementsAre("a", "a")) << "it is there";
}

TEST_F(StructuresTest, WhatTheCacheLetsGoIsFreedElsewhereWhenItsLastRequestEnds) {
  begin(1, regex("a"));
  answer(regex("a"), std::size_t{128} << 20);  // with its source too much to be kept
  EXPECT_EQ(n_discarded_, 0u) << "a request has it";
  structures_.end(RequestId(1));
  EXPECT_EQ(n_discarded_, 1u);
}

TEST_F(StructuresTest, MasksOfAStepStandBesideEachOther) {
  for (const std::uint64_t id : {1, 2}) begin(id, regex(id == 1 ? "a" : "bc"));
  answer(regex("a"));
  answer(regex("bc"));
  request::Request one{.id = RequestId(1), .tokens = {5}, .n_prompt_tokens = 1, .structure = regex("a")};
  request::Request two{.id = RequestId(2), .tokens = {5}, .n_prompt_tokens = 1, .structure = regex("bc")};
  const auto first = structures_.mask(one), second = structures_.mask(two);
  EXPECT_THAT(first, ElementsAre(0, std::uint64_t{1} << ('a' - 64), 0, 0));
  EXPECT_THAT(second, ElementsAre(0, std::uint64_t{1} << ('b' - 64), 0, 0));
  two.tokens.push_back('b');
  EXPECT_THAT(structures_.mask(two), ElementsAre(0, std::uint64_t{1} << ('c' - 64), 0, 0));
}

TEST_F(StructuresTest, AMaskIsMadeOnceForEachTokenAndOneTokenAloneIsForced) {
  begin(1, regex("abc?"));
  answer(regex("abc?"));
  request::Request asked{.id = RequestId(1), .tokens = {5}, .n_prompt_tokens = 1, .structure = regex("abc?")};
  EXPECT_EQ(structures_.forced(asked), TokenId{'a'});
  EXPECT_EQ(structures_.mask(asked).data(), structures_.mask(asked).data());
  asked.tokens.push_back('a');
  EXPECT_EQ(structures_.forced(asked), TokenId{'b'});
  request::Request other = asked;
  other.logprobs.n_top = 0;
  EXPECT_EQ(structures_.forced(other), std::nullopt) << "its logprob is wanted";
  other = asked;
  other.stop.min_tokens = 2;
  EXPECT_EQ(structures_.forced(other), std::nullopt);
  other = asked;
  request::TokenRules rules;
  rules.bad_words = {{'b'}};
  other.rules = rules;
  EXPECT_EQ(structures_.forced(other), std::nullopt) << "it may be forbidden";
  asked.stop.eos_token_ids = {0};
  asked.tokens.push_back('b');
  EXPECT_EQ(structures_.forced(asked), std::nullopt) << "it may end or go on";
  asked.tokens.push_back('c');
  EXPECT_EQ(structures_.forced(asked), TokenId{0}) << "the end";
}

class GrammarCompilerTest : public testing::Test {
 protected:
  GrammarCompiled compile(GrammarCompiler& compiler, const request::SharedStructure& structure) {
    answer_ = {};
    auto answered = answer_.get_future();
    compiler.compile(structure);
    CHECK(answered.wait_for(std::chrono::seconds(60)) == std::future_status::ready, "no answer within 60 s");
    return answered.get();
  }
  std::promise<GrammarCompiled> answer_;
  GrammarCompiler::Answer answer() {
    return [this](GrammarCompiled compiled) { answer_.set_value(std::move(compiled)); };
  }
};

TEST_F(GrammarCompilerTest, AnswersEachSourceWithItsGrammarOrWithWhatIsWrong) {
  GrammarCompiler compiler(grammar::pack_vocabulary(bytes()), 256, answer());
  const GrammarCompiled good = compile(compiler, regex("ab?"));
  ASSERT_TRUE(good.grammar) << good.error;
  EXPECT_EQ(good.structure->source, "ab?");
  EXPECT_GT(good.n_bytes, 0u);
  const GrammarCompiled bad = compile(compiler, regex("(a"));
  EXPECT_FALSE(bad.grammar);
  EXPECT_THAT(bad.error, testing::HasSubstr("at byte"));
  compiler.discard(good.grammar);
}

TEST_F(GrammarCompilerTest, WhatIsCancelledBeforeItsTurnIsNotCompiled) {
  std::vector<std::string> answered;
  std::promise<void> first, go_on, last;
  GrammarCompiler compiler(grammar::pack_vocabulary(bytes()), 256, [&](const GrammarCompiled& compiled) {
    answered.push_back(compiled.structure->source);
    if (answered.back() == "a") {
      first.set_value();
      go_on.get_future().wait();
    }
    if (answered.back() == "c") last.set_value();
  });
  compiler.compile(regex("a"));
  ASSERT_EQ(first.get_future().wait_for(std::chrono::seconds(60)), std::future_status::ready);
  for (const char* source : {"b", "c"}) compiler.compile(regex(source));
  compiler.cancel(regex("b"));
  go_on.set_value();
  ASSERT_EQ(last.get_future().wait_for(std::chrono::seconds(60)), std::future_status::ready);
  EXPECT_THAT(answered, ElementsAre("a", "c"));
}

TEST_F(GrammarCompilerTest, WithoutAVocabularyOrWithABrokenOneNothingHasAGrammar) {
  GrammarCompiler none("", 256, answer());
  EXPECT_EQ(compile(none, regex("a")).error, "this rank was told no vocabulary");
  GrammarCompiler cut(std::string("\x05\x00"
                                  "abc",
                                  5),
                      256, answer());
  EXPECT_THAT(compile(cut, regex("a")).error, testing::HasSubstr("ends within token 0"));
  GrammarCompiler larger(grammar::pack_vocabulary(bytes()), 100, answer());
  EXPECT_EQ(compile(larger, regex("a")).error, "a vocabulary of 200 tokens, and 100 logits");
}

}  // namespace
}  // namespace concertina::worker
