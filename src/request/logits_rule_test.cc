#include "request/logits_rule.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace concertina::request {
namespace {

constexpr std::size_t kVocab = 150;

// A request's rules over arrays of the whole vocabulary, in vLLM's order: what is forbidden, logit_bias,
// repetition, then frequency and presence.
std::vector<float> dense(const Request& request, std::vector<float> logits) {
  constexpr float kForbidden = -std::numeric_limits<float>::infinity();
  const std::vector<TokenId> answer(
      request.tokens.begin() + static_cast<std::ptrdiff_t>(request.n_prompt_tokens), request.tokens.end());
  static const TokenRules kNone;
  const TokenRules& rules = request.rules ? *request.rules.operator->() : kNone;
  const auto& allowed = rules.allowed_token_ids;
  std::vector<bool> forbidden(kVocab);
  for (std::size_t t = 0; t < kVocab; ++t)
    forbidden[t] = !allowed.empty() && std::find(allowed.begin(), allowed.end(), t) == allowed.end();
  for (const auto& word : rules.bad_words) {
    if (word.size() > answer.size() + 1) continue;
    const std::vector<TokenId> tail(answer.end() - static_cast<std::ptrdiff_t>(word.size() - 1),
                                    answer.end());
    if (tail == std::vector<TokenId>(word.begin(), word.end() - 1))
      forbidden[static_cast<std::size_t>(word.back())] = true;
  }
  if (answer.size() < request.stop.min_tokens) {
    for (const auto& ids : {request.stop.eos_token_ids, request.stop.stop_token_ids})
      for (const TokenId id : ids) forbidden[static_cast<std::size_t>(id)] = true;
  }
  std::vector<float> bias(kVocab, 0.0f), counts(kVocab, 0.0f), seen(kVocab, 0.0f);
  for (const TokenBias& one : rules.logit_bias) bias[static_cast<std::size_t>(one.token)] = one.bias;
  for (const TokenId id : request.tokens) seen[static_cast<std::size_t>(id)] = 1;
  for (const TokenId id : answer) counts[static_cast<std::size_t>(id)] += 1;
  const SamplingParams& sampling = request.sampling;
  for (std::size_t t = 0; t < kVocab; ++t) {
    float& logit = logits[t];
    if (forbidden[t]) logit = kForbidden;
    logit += bias[t];
    if (seen[t] > 0)
      logit = logit > 0 ? logit / sampling.repetition_penalty : logit * sampling.repetition_penalty;
    if (counts[t] > 0) logit += -(sampling.frequency_penalty * counts[t]) - sampling.presence_penalty;
  }
  return logits;
}

// What a kernel does with a drawing.
std::vector<float> applied(const Drawing& drawing, std::vector<float> logits) {
  for (std::size_t t = 0; t < kVocab; ++t)
    if (!drawing.allowed.empty() && (drawing.allowed[t / 64] >> (t % 64) & 1) == 0)
      logits[t] = -std::numeric_limits<float>::infinity();
  for (const LogitEdit& edit : drawing.edits) {
    float& logit = logits[static_cast<std::size_t>(edit.token)];
    logit = (logit > 0 ? logit / edit.divisor : logit * edit.divisor) + edit.bias;
  }
  return logits;
}

struct Row {
  explicit Row(const Request& request, RuleRoom& room) {
    if (request.sampling.has_penalties()) counts.update(request);
    drawing = LogitsRules::drawing({request, counts.all()}, room);
  }
  TokenCounts counts;
  Drawing drawing;
};

class OfLogits : public ::testing::Test {
 protected:
  static RuleLimits limits() { return {.max_rows = 4, .vocab_size = kVocab, .max_tokens = 400}; }
  RuleRoom room = LogitsRules::room(limits());
  std::vector<float> logits = [] {
    std::vector<float> made;
    for (std::size_t t = 0; t < kVocab; ++t) made.push_back(static_cast<float>(t % 17) - 8.0f);
    return made;
  }();
  void expect_dense(const Request& request) {
    EXPECT_EQ(applied(Row(request, room).drawing, logits), dense(request, logits));
  }
};
using LogitsRulesTest = OfLogits;

TEST_F(LogitsRulesTest, APlainRequestHasTemperatureAndFiltersAndNeitherMaskNorEdit) {
  const Request request{.tokens = {5},
                        .sampling = {.temperature = 0.5f, .top_k = 3, .top_p = 0.25f, .min_p = 0.125f}};
  const Drawing drawing = Row(request, room).drawing;
  EXPECT_EQ(drawing.temperature, 0.5f);
  EXPECT_EQ(drawing.top_k, 3);
  EXPECT_EQ(drawing.top_p, 0.25f);
  EXPECT_EQ(drawing.min_p, 0.125f);
  EXPECT_TRUE(drawing.allowed.empty());
  EXPECT_TRUE(drawing.edits.empty());
}

TEST_F(LogitsRulesTest, OnlyTheAllowedTokensAreLeft) {
  expect_dense(
      {.tokens = {5}, .n_prompt_tokens = 1, .rules = TokenRules{.allowed_token_ids = {0, 63, 64, 149}}});
}

TEST_F(LogitsRulesTest, ABadWordsLastTokenIsForbiddenWhereTheAnswerEndsWithItsOthers) {
  Request request{.tokens = {1, 2, 7, 8},
                  .n_prompt_tokens = 2,
                  .rules = TokenRules{.bad_words = {{9}, {8, 3}, {7, 8, 4}, {7, 5}, {2, 7, 8, 6}}}};
  const Drawing drawing = Row(request, room).drawing;
  const auto is_allowed = [&](TokenId id) { return (drawing.allowed[0] >> id & 1) == 1; };
  EXPECT_FALSE(is_allowed(9)) << "a word of one token, always";
  EXPECT_FALSE(is_allowed(3));
  EXPECT_FALSE(is_allowed(4));
  EXPECT_TRUE(is_allowed(5)) << "7 is not the last";
  EXPECT_TRUE(is_allowed(6)) << "2 stands in the prompt";
  expect_dense(request);
}

TEST_F(LogitsRulesTest, NeitherEosNorAStopIdUntilMinTokensAreThere) {
  Request request{
      .tokens = {1, 2, 3},
      .n_prompt_tokens = 1,
      .stop = {.ignore_eos = true, .eos_token_ids = {100}, .stop_token_ids = {4, 140}, .min_tokens = 3}};
  expect_dense(request);
  EXPECT_EQ(Row(request, room).drawing.allowed[1] >> 36 & 1, 0u) << "eos too where it is ignored";
  request.tokens.push_back(5);
  EXPECT_TRUE(Row(request, room).drawing.allowed.empty()) << "three are there";
}

TEST_F(LogitsRulesTest, RepetitionCountsThePromptAndTheOtherPenaltiesOnlyTheAnswer) {
  Request request{
      .tokens = {16, 9, 9, 10, 3, 3},
      .n_prompt_tokens = 2,
      .sampling = {.repetition_penalty = 2.0f, .frequency_penalty = 0.5f, .presence_penalty = 0.25f}};
  const auto changed = applied(Row(request, room).drawing, logits);
  EXPECT_EQ(changed[16], 4.0f) << "8 / 2, in the prompt";
  EXPECT_EQ(changed[9], 0.5f - 0.5f - 0.25f) << "once in the answer";
  EXPECT_EQ(changed[3], -10.0f - 1.0f - 0.25f) << "below zero it multiplies";
  expect_dense(request);
  request.sampling.repetition_penalty = 1.0f;
  expect_dense(request);
}

TEST_F(LogitsRulesTest, AllTogetherAreTheDenseOnesWhateverIsAskedFor) {
  for (unsigned seed = 1; seed <= 300; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    const auto below = [&](std::size_t n) { return static_cast<std::size_t>(random()) % n; };
    const auto id = [&] { return static_cast<TokenId>(below(kVocab)); };
    Request request;
    TokenRules rules;
    for (std::size_t n = 1 + below(60); n > 0; --n) request.tokens.push_back(static_cast<TokenId>(below(20)));
    request.n_prompt_tokens = 1 + below(request.tokens.size());
    if (below(2) == 0) request.sampling.repetition_penalty = 0.5f + static_cast<float>(below(10)) / 7;
    if (below(2) == 0) request.sampling.frequency_penalty = static_cast<float>(below(40)) / 10 - 2;
    if (below(2) == 0) request.sampling.presence_penalty = static_cast<float>(below(40)) / 10 - 2;
    if (below(2) == 0) request.stop.min_tokens = below(40);
    for (std::size_t n = below(3); n > 0; --n) request.stop.eos_token_ids.push_back(id());
    for (std::size_t n = below(3); n > 0; --n) request.stop.stop_token_ids.push_back(id());
    std::map<TokenId, float> biases;
    for (std::size_t n = below(5); n > 0; --n) biases[id()] = static_cast<float>(below(200)) - 100;
    for (const auto& [token, bias] : biases) rules.logit_bias.push_back({token, bias});
    for (std::size_t n = below(3) == 0 ? 30 : 0; n > 0; --n) rules.allowed_token_ids.push_back(id());
    sort_ids(rules.allowed_token_ids);
    for (std::size_t n = below(4); n > 0; --n) {
      auto& word = rules.bad_words.emplace_back();
      for (std::size_t k = 1 + below(3); k > 0; --k) word.push_back(static_cast<TokenId>(below(20)));
    }
    request.rules = rules;
    room.clear();
    expect_dense(request);
  }
}

TEST_F(LogitsRulesTest, RowsKeepTheirOwnMasksAndEdits) {
  const Request one{.tokens = {1},
                    .n_prompt_tokens = 1,
                    .rules = TokenRules{.logit_bias = {{7, 1.0f}}, .allowed_token_ids = {1}}};
  const Request other{.tokens = {2},
                      .n_prompt_tokens = 1,
                      .rules = TokenRules{.logit_bias = {{8, 2.0f}}, .bad_words = {{3}}}};
  const Row first(one, room), second(other, room);
  EXPECT_EQ(first.drawing.allowed[0], 2u);
  EXPECT_EQ(second.drawing.allowed[0], ~std::uint64_t{8});
  ASSERT_EQ(first.drawing.edits.size(), 1u);
  EXPECT_EQ(first.drawing.edits[0].token, 7);
  EXPECT_EQ(second.drawing.edits[0].token, 8);
}

// A structure's mask, which its rule keeps, meets a list of allowed ids and what is forbidden.
TEST_F(LogitsRulesTest, MasksOfSeveralRulesAreOneMaskOfWhatAllAllow) {
  const std::vector<std::uint64_t> kept{0xff, 1, 0};
  Drawing drawing;
  room.masks.narrow_to(kept, drawing);
  EXPECT_EQ(drawing.allowed.data(), kept.data()) << "alone it is not copied";
  room.masks.narrow_to(std::vector<TokenId>{3, 4, 64, 65}, drawing);
  room.masks.forbid(4, drawing);
  room.masks.narrow_to(std::vector<std::uint64_t>{0x18, 3, 1}, drawing);
  EXPECT_EQ(std::vector<std::uint64_t>(drawing.allowed.begin(), drawing.allowed.end()),
            (std::vector<std::uint64_t>{8, 1, 0}));
  EXPECT_EQ(kept[0], 0xffu);
}

TEST(ThinkingEnd, IsAllThatIsLeftOnceTheBudgetIsSpent) {
  constexpr TokenId kBegin = 90, kEnd = 91, kEnd2 = 92, kCall = 93, kAny = -1;
  // The one token that may be drawn after these.
  const auto forced = [&](std::vector<TokenId> answer, std::vector<TokenId> begin) -> TokenId {
    Request request{.tokens = {kBegin, 1}, .n_prompt_tokens = 2};
    request.tokens.insert(request.tokens.end(), answer.begin(), answer.end());
    TokenRules rules;
    rules.thinking = {.n_tokens = 3, .end = {kEnd, kEnd2}, .other_end = {kCall}, .begin = std::move(begin)};
    request.rules = rules;
    RuleRoom room = LogitsRules::room({.max_rows = 1, .vocab_size = kVocab, .max_tokens = 100});
    const Drawing drawing = LogitsRules::drawing({request, {}}, room);
    if (drawing.allowed.empty()) return kAny;
    const std::vector<float> left = applied(drawing, std::vector<float>(kVocab, 1.0f));
    EXPECT_EQ(std::ranges::count(left, 1.0f), 1);
    return static_cast<TokenId>(std::ranges::find(left, 1.0f) - left.begin());
  };
  EXPECT_EQ(forced({5, 6}, {}), kAny) << "two of three";
  EXPECT_EQ(forced({5, 6, 7}, {}), kEnd);
  EXPECT_EQ(forced({5, 6, kEnd}, {}), kEnd) << "half an end is none";
  EXPECT_EQ(forced({5, 6, 7, kEnd}, {}), kEnd2);
  EXPECT_EQ(forced({5, 6, 7, kEnd, kEnd2}, {}), kAny);
  EXPECT_EQ(forced({5, 6, 7, kEnd, kEnd2, 8, 9}, {}), kAny);
  EXPECT_EQ(forced({5, kEnd, kEnd2}, {}), kAny) << "it ended by itself";
  EXPECT_EQ(forced({5, kCall, 6}, {}), kAny) << "so it did";
  EXPECT_EQ(forced({5, 6, 7, 8}, {kBegin}), kAny) << "no thought has begun";
  EXPECT_EQ(forced({5, 6, 7, 8, kBegin, 5, 6, 7}, {kBegin}), kAny) << "a mark within the answer is none";
  EXPECT_EQ(forced({1, kBegin, 5, 6}, {kBegin}), kAny);
  EXPECT_EQ(forced({1, kBegin, 5, 6, 7}, {kBegin}), kEnd);
}

TEST(LogitsRulesDeathTest, ATokenBeyondTheMaskIsNotForbiddenInTheNextRows) {
  MaskRoom room(2, 100);
  Drawing drawing;
  EXPECT_DEATH(room.forbid(128, drawing), "token 128 of a mask of 128");
}

TEST(LogitsRulesDeathTest, ARuleThatEditsMoreThanItSaidIsStopped) {
  EditRoom room(1);
  room.add({});
  EXPECT_DEATH(room.add({}), "room for 1 edits");
}

TEST(TokenCounts, KeptBesideGrowingTokensAreThoseOfAllTokensAtOnce) {
  std::mt19937 random(7);
  Request request{.n_prompt_tokens = 40};
  TokenCounts kept;
  for (int i = 0; i < 500; ++i) {
    request.tokens.push_back(static_cast<TokenId>(random() % 90));
    if (random() % 3 == 0) kept.update(request);
    if (random() % 50 == 0) {  // as a take-over does it
      request.tokens.resize(request.tokens.size() - random() % request.tokens.size() / 8);
      kept.forget();
    }
    if (request.tokens.size() < request.n_prompt_tokens) continue;
    kept.update(request);
    std::map<TokenId, std::uint32_t> counted;
    for (std::size_t t = 0; t < request.tokens.size(); ++t)
      counted[request.tokens[t]] += t >= request.n_prompt_tokens ? 1 : 0;
    std::map<TokenId, std::uint32_t> found;
    for (const TokenCount& count : kept.all()) found[count.token] = count.n_generated;
    ASSERT_EQ(found, counted) << "after " << i;
    ASSERT_EQ(kept.all().size(), counted.size()) << "each once";
  }
}

}  // namespace
}  // namespace concertina::request
