#include "request/logits_rule.h"

#include <gtest/gtest.h>

namespace concertina::request {
namespace {

// What a later rule may do: it reads the request's parameters and its tokens, and edits.
struct LiftsTheFirstToken {
  static constexpr std::size_t max_edits(std::size_t) { return 1; }
  static void apply(const Request& request, Drawing&, EditRoom& room) {
    room.add({.token = request.tokens.front(), .bias = 1.0f});
  }
};
struct DampsWhatWasGenerated {
  static constexpr std::size_t max_edits(std::size_t max_model_len) { return max_model_len; }
  static void apply(const Request& request, Drawing&, EditRoom& room) {
    for (std::size_t i = request.n_prompt_tokens; i < request.tokens.size(); ++i)
      room.add({.token = request.tokens[i], .divisor = 2.0f});
  }
};
using Edits = RulesInOrder<LiftsTheFirstToken, DampsWhatWasGenerated, Temperature>;

TEST(LogitsRules, TodaysAreTemperatureAndTheFilters) {
  EditRoom room(LogitsRules::max_edits(1000));
  const Request request{.tokens = {5},
                        .sampling = {.temperature = 0.5f, .top_k = 3, .top_p = 0.25f, .min_p = 0.125f}};
  const Drawing drawing = LogitsRules::drawing(request, room);
  EXPECT_EQ(drawing.temperature, 0.5f);
  EXPECT_EQ(drawing.top_k, 3);
  EXPECT_EQ(drawing.top_p, 0.25f);
  EXPECT_EQ(drawing.min_p, 0.125f);
  EXPECT_TRUE(drawing.allowed.empty());
  EXPECT_TRUE(drawing.edits.empty());
  EXPECT_EQ(LogitsRules::max_edits(1000), 0u);
}

TEST(LogitsRules, EditsStandInTheOrderOfTheirRulesAndRowsKeepTheirOwn) {
  EditRoom room(2 * Edits::max_edits(4));
  const Request one{.tokens = {7, 8, 9}, .n_prompt_tokens = 2}, other{.tokens = {3}, .n_prompt_tokens = 1};
  const Drawing first = Edits::drawing(one, room), second = Edits::drawing(other, room);
  ASSERT_EQ(first.edits.size(), 2u);
  EXPECT_EQ(first.edits[0].token, 7);
  EXPECT_EQ(first.edits[0].bias, 1.0f);
  EXPECT_EQ(first.edits[1].token, 9);
  EXPECT_EQ(first.edits[1].divisor, 2.0f);
  ASSERT_EQ(second.edits.size(), 1u);
  EXPECT_EQ(second.edits[0].token, 3);
}

TEST(LogitsRulesDeathTest, ARuleThatEditsMoreThanItSaidIsStopped) {
  EditRoom room(1);
  const Request request{.tokens = {7, 8}, .n_prompt_tokens = 1};
  EXPECT_DEATH(Edits::drawing(request, room), "room for 1 edits");
}

}  // namespace
}  // namespace concertina::request
