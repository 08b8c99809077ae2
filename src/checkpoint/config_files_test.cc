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
