#include "checkpoint/config_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "checkpoint/error.h"

namespace concertina::checkpoint {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

TEST(JsonFile, AKeyTwiceIsRefusedAtAnyDepthAndTheSameKeyElsewhereIsNot) {
  const auto parse = [](const char* text) { return parse_json(text, "config.json"); };
  EXPECT_TRUE(parse(R"({"a": {"b": 1}, "b": [{"a": 1}, {"a": 2}]})").has_value());
  const auto twice = parse(R"({"a": {"b": [{"c": 1, "d": 2, "c": 3}]}})");
  ASSERT_FALSE(twice.has_value());
  EXPECT_THAT(twice.error().message(), AllOf(HasSubstr("config.json"), HasSubstr("c appears twice")));
  const auto text = parse("\"text\"");
  ASSERT_FALSE(text.has_value());
  EXPECT_THAT(text.error().message(), HasSubstr("must be a JSON object"));
}

TEST(JsonFile, IsReadAsPythonWritesIt) {
  const auto parse = [](const std::string& text) { return parse_json(text, "config.json"); };
  const auto json = parse(
      "\xEF\xBB\xBF{\"a\": [NaN, Infinity, -Infinity, 1e999], \"b\": 123456789012345678901234567890, "
      "\"c\": \"NaN\", \"d\": 8.0, \"e\": 18446744073709551615}");
  ASSERT_TRUE(json.has_value()) << json.error().message();
  EXPECT_EQ((*json)["b"], 123456789012345678901234567890.0);
  EXPECT_EQ((*json)["c"], "NaN");
  EXPECT_EQ((*json)["e"], 18446744073709551615u);
  EXPECT_EQ((*json)["a"].size(), 4u);
  EXPECT_THAT(parse("{\"a\": NaN, \"a\": 1}").error().message(), HasSubstr("a appears twice"));
  EXPECT_FALSE(parse("{\"a\": NaNa}").has_value());
  EXPECT_FALSE(parse("{\"a\": nan}").has_value());
}

TEST(JsonFile, AMissingOrBrokenFileIsNamed) {
  std::string pattern = (fs::temp_directory_path() / "concertina_json_XXXXXX").string();
  ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
  const fs::path path = fs::path(pattern) / "config.json";
  const auto missing = read_json(path);
  ASSERT_FALSE(missing.has_value());
  EXPECT_TRUE(missing.error().is(CheckpointError::kNotFound));
  EXPECT_THAT(missing.error().message(), AllOf(HasSubstr(path.string()), HasSubstr("No such file")));
  for (const char* text : {"", "{\"temperature\": }", "{} {}", "\xff"}) {
    std::ofstream(path) << text;
    const auto broken = read_json(path);
    ASSERT_FALSE(broken.has_value()) << text;
    EXPECT_TRUE(broken.error().is(CheckpointError::kCorrupt));
    EXPECT_THAT(broken.error().message(), AllOf(HasSubstr(path.string()), HasSubstr("column")));
  }
  fs::remove_all(pattern);
}

}  // namespace
}  // namespace concertina::checkpoint
