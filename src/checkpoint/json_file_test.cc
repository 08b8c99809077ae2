#include "checkpoint/json_file.h"

#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

namespace concertina::checkpoint {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

TEST(JsonFile, AKeyTwiceIsRefusedAtAnyDepthAndTheSameKeyElsewhereIsNot) {
  const auto parse = [](const char* text) { return parse_json_object(text, "config.json", CheckpointError::kBadJson); };
  EXPECT_TRUE(parse(R"({"a": {"b": 1}, "b": [{"a": 1}, {"a": 2}]})").has_value());
  const auto twice = parse(R"({"a": {"b": [{"c": 1, "d": 2, "c": 3}]}})");
  ASSERT_FALSE(twice.has_value());
  EXPECT_THAT(twice.error().message(), AllOf(HasSubstr("config.json"), HasSubstr("'c' appears twice")));
  const auto text = parse("\"text\"");
  ASSERT_FALSE(text.has_value());
  EXPECT_THAT(text.error().message(), HasSubstr("found a JSON string"));
}

TEST(ModelFolder, ConfigIsNeededAndGenerationConfigIsNot) {
  std::string pattern = (fs::temp_directory_path() / "concertina_json_XXXXXX").string();
  ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
  const fs::path folder = pattern;
  const auto config = read_config(folder);
  ASSERT_FALSE(config.has_value());
  EXPECT_TRUE(config.error().is(CheckpointError::kFileUnreadable));
  EXPECT_THAT(config.error().message(), AllOf(HasSubstr("config.json"), HasSubstr("No such file")));
  const auto generation = read_generation_config(folder);
  ASSERT_TRUE(generation.has_value());
  EXPECT_FALSE(generation->has_value());
  std::ofstream(folder / "generation_config.json") << "{\"temperature\": }";
  const auto broken = read_generation_config(folder);
  ASSERT_FALSE(broken.has_value());
  EXPECT_THAT(broken.error().message(), AllOf(HasSubstr("generation_config.json"), HasSubstr("column")));
  fs::remove_all(folder);
  EXPECT_THAT(read_config(folder).error().message(), HasSubstr("not a folder"));
}

}  // namespace
}  // namespace concertina::checkpoint
