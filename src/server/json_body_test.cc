#include "server/json_body.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/fields.h"

namespace concertina::server {
namespace {

using ::testing::HasSubstr;

Json parsed(std::string_view text) {
  auto json = parse_json(text, 64);
  EXPECT_TRUE(json) << json.error();
  return json ? *json : Json();
}

TEST(JsonBody, ObjectsKeepTheOrderOfTheirKeys) {
  const char* text = R"({"type":"function","function":{"name":"f","description":"d","a":[{"z":1,"b":2}]}})";
  EXPECT_EQ(parsed(text).dump(), text);
}

TEST(JsonBody, OfAKeyThatComesTwiceTheLastValueCountsAtTheFirstPlace) {
  EXPECT_EQ(parsed(R"({"a":1,"b":{"x":0,"x":[3]},"a":{"y":2},"c":4,"a":5})").dump(),
            R"({"a":5,"b":{"x":[3]},"c":4})");
}

TEST(JsonBody, LargeObjectsAreAsSmallOnes) {
  std::string text = "{";
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 80000; ++i) text += fmt::format("\"key {}\":{},", i * 7919 % 80000, round);
  }
  const Json json = parsed(text + "\"last\":[]}");
  ASSERT_EQ(json.size(), 80001u);
  const JsonMembers& members = json.get_ref<const Json::object_t&>();
  EXPECT_EQ(members[1].first, "key 7919");
  EXPECT_EQ(members[80000].first, "last");
  const MemberIndex index(members);
  for (int i = 0; i < 80000; i += 997) EXPECT_EQ(*index.find(fmt::format("key {}", i)), 2);
  EXPECT_EQ(index.find("key"), nullptr);
  EXPECT_EQ(index.find("zzz"), nullptr);
}

TEST(JsonBody, TextsThatAreNoJsonAreRefusedWithTheReason) {
  for (const char* text :
       {"", "{", "[1,]", "{\"a\" 1}", "NaN", "{} {}", "\"\xFF\"", "\"\\ud800\"", "1e999", "'a'"}) {
    const auto json = parse_json(text, 64);
    ASSERT_FALSE(json) << text;
    EXPECT_THAT(json.error(), ::testing::StartsWith("is not JSON: ")) << text;
    EXPECT_THAT(json.error(), ::testing::Not(HasSubstr("json.exception")));
  }
  EXPECT_LT(parse_json("[" + std::string(1 << 20, '1') + "x", 64).error().size(), 300u);
}

TEST(JsonBody, NestingIsBounded) {
  const auto nested = [](std::size_t n) { return parse_json(std::string(n, '[') + std::string(n, ']'), 64); };
  EXPECT_TRUE(nested(64));
  EXPECT_EQ(nested(65).error(), "is nested more than 64 levels deep");
  EXPECT_FALSE(parse_json(std::string(1000000, '['), 64));
}

// 4 MiB of them, ten times, kept a helper thread for twelve seconds.
TEST(JsonBody, MembersObjectsAndListsAreBounded) {
  const auto repeated = [](const std::string& begin, const std::string& item, std::size_t n,
                           const std::string& end) {
    std::string text = begin;
    for (std::size_t i = 0; i < n; ++i) text += item;
    return parse_json(text + end, 64);
  };
  const std::string too_many = "has more than 262144 members, objects and lists";
  EXPECT_TRUE(repeated("{", "\"a\":1,", kMaxJsonItems - 2, "\"b\":2}"));
  EXPECT_EQ(repeated("{", "\"a\":1,", kMaxJsonItems - 1, "\"b\":2}").error(), too_many);
  EXPECT_TRUE(repeated("[", "{},", kMaxJsonItems - 2, "[]]"));
  EXPECT_EQ(repeated("[", "[[]],", kMaxJsonItems, "[]]").error(), too_many);
  EXPECT_TRUE(repeated("[", "1,", 4 * kMaxJsonItems, "1]")) << "token ids are as many as a prompt has";
}

TEST(JsonBody, NumbersAreWhatTheyAreHoweverSpelt) {
  for (const char* text : {"8", "8.0", "8e0", "0.8e1", "800E-2"})
    EXPECT_EQ(whole_number(parsed(text)), 8) << text;
  EXPECT_EQ(whole_number(parsed("-9223372036854775808")), INT64_MIN);
  EXPECT_EQ(whole_number(parsed("9223372036854775807")), INT64_MAX);
  EXPECT_EQ(whole_number(parsed("-0.0")), 0);
  for (const char* text : {"8.5", "9223372036854775808", "9223372036854775808.0", "1e30",
                           "18446744073709551616", "true", "\"8\"", "null", "[8]"}) {
    EXPECT_FALSE(whole_number(parsed(text))) << text;
  }
  EXPECT_EQ(real_number(parsed("18446744073709551616")), 18446744073709551616.0);
  EXPECT_EQ(real_number(parsed("2")), 2.0);
  EXPECT_FALSE(real_number(parsed("\"2\"")));
}

TEST(JsonBody, MessagesShowNumbersAsTheyWereSent) {
  const char* text = R"([18446744073709551616,-9223372036854775809,18446744073709551615,1.5,{"a":"b"}])";
  EXPECT_EQ(in_short(parsed(text)), text);
  EXPECT_LT(in_short(Json(std::string(1 << 20, 'x'))).size(), 110u);
  EXPECT_LT(in_short(Json{{std::string(1 << 20, 'x'), Json::array_t(1 << 20)}}).size(), 110u);
}

TEST(FieldsTest, AWholeNumberIsAnIntegerHoweverItIsSpelt) {
  const Json body = parsed(R"({"a": 8.0, "b": 1e3, "ids": [1.0, 2], "c": 8.5})");
  Fields fields(body);
  EXPECT_EQ(fields.integer("a", 1, 10), 8);
  EXPECT_EQ(fields.integer("b", 1, INT64_MAX), 1000);
  EXPECT_EQ(fields.token_ids("ids", 3), (std::vector<TokenId>{1, 2}));
  EXPECT_FALSE(fields.error());
  EXPECT_FALSE(fields.integer("c", 1, 10));
  EXPECT_EQ(fields.error()->message, "c must be an integer in 1..10, found 8.5");
}

TEST(FieldsTest, AnIntegersErrorNamesBothBoundsAndTheNumberAsItWasSent) {
  const auto error = [](const std::string& text) {
    const Json body = parsed("{\"seed\": " + text + "}");
    Fields fields(body);
    EXPECT_FALSE(fields.integer("seed", INT64_MIN, INT64_MAX));
    return fields.error()->message;
  };
  const std::string must_be = "seed must be an integer in -9223372036854775808..9223372036854775807, found ";
  EXPECT_EQ(error("9223372036854775808"), must_be + "9223372036854775808");
  EXPECT_EQ(error("18446744073709551616"), must_be + "18446744073709551616");
  EXPECT_EQ(error("-9223372036854775809"), must_be + "-9223372036854775809");
}

}  // namespace
}  // namespace concertina::server
