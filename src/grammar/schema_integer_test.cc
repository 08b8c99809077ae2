#include <fmt/format.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "grammar/grammar_of.h"

namespace concertina::grammar {
namespace {

std::string within(std::int64_t low, std::int64_t high) {
  return fmt::format(R"({{"type": "integer", "minimum": {}, "maximum": {}}})", low, high);
}

RC_GTEST_PROP(Integers, AreThoseWithinTheirBounds, ()) {
  const auto number = rc::gen::inRange<std::int64_t>(-3000, 3000);
  auto [low, high] = *rc::gen::pair(number, number);
  if (low > high) std::swap(low, high);
  const auto grammar = grammar_of(Language::kJsonSchema, within(low, high));
  for (std::int64_t value = -3100; value <= 3100; ++value)
    RC_ASSERT(accepts(grammar, std::to_string(value)) == (low <= value && value <= high));
}

// What zod's z.int() becomes: two to the 16th nodes for each sign once, and refused as too large.
TEST(Integers, MayBeThoseThatADoubleHolds) {
  constexpr std::int64_t kMost = 9'007'199'254'740'991;
  const auto grammar = grammar_of(Language::kJsonSchema, within(-kMost, kMost));
  for (const std::int64_t value : {std::int64_t{0}, std::int64_t{-1}, std::int64_t{2'100'000}, kMost, -kMost})
    EXPECT_TRUE(accepts(grammar, std::to_string(value))) << value;
  for (const char* text : {"9007199254740992", "-9007199254740992", "10000000000000000", "01", "-", "1.5"})
    EXPECT_FALSE(accepts(grammar, text)) << text;
}

}  // namespace
}  // namespace concertina::grammar
