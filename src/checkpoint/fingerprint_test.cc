#include "checkpoint/fingerprint.h"

#include <gtest/gtest.h>

#include <fstream>

namespace concertina::checkpoint {
namespace {

TEST(Fingerprint, ChangesWithTheFilesOfTheCheckpointAndWithNothingElse) {
  const std::filesystem::path folder = std::filesystem::path(testing::TempDir()) / "fingerprint";
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "config.json") << "{}";
  std::ofstream(folder / "model.safetensors") << "weights";
  const auto first = fingerprint(folder);
  ASSERT_TRUE(first.has_value()) << first.error().message();
  EXPECT_EQ(*fingerprint(folder), *first);
  std::ofstream(folder / "notes.txt") << "not part of it";
  EXPECT_EQ(*fingerprint(folder), *first);
  std::ofstream(folder / "model-2.safetensors") << "more";
  const std::string with_more = *fingerprint(folder);
  EXPECT_NE(with_more, *first);
  std::filesystem::last_write_time(folder / "model-2.safetensors",
                                   std::filesystem::file_time_type::clock::now() + std::chrono::hours(1));
  EXPECT_NE(*fingerprint(folder), with_more) << "the same size, written again";
}

TEST(Fingerprint, TextsHaveOneOfTheirOwn) {
  const std::filesystem::path folder = std::filesystem::path(testing::TempDir()) / "fingerprint_texts";
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  for (const char* name : {"config.json", "model.safetensors", "tokenizer.json", "generation_config.json"})
    std::ofstream(folder / name) << "{}";
  const std::string weights = fingerprint(folder).value(), texts = fingerprint(folder, Files::kTexts).value();
  EXPECT_EQ(files_in(weights), (std::vector<std::string>{"config.json", "model.safetensors"}));
  EXPECT_EQ(files_in(texts), (std::vector<std::string>{"generation_config.json", "tokenizer.json"}));
  std::ofstream(folder / "chat_template.jinja") << "{{ bos_token }}";
  std::ofstream(folder / "tokenizer.json") << "{\"model\": {}}";
  EXPECT_EQ(fingerprint(folder).value(), weights) << "a rank needs none of them";
  const std::string now = fingerprint(folder, Files::kTexts).value();
  EXPECT_EQ(
      describe_difference(texts, now).find("tokenizer.json has changed: 13 bytes instead of 2, written at "),
      0u)
      << describe_difference(texts, now);
  std::filesystem::remove_all(folder);
}

TEST(Fingerprint, ADifferenceNamesTheFileAndHowItDiffers) {
  const std::string before = "a.safetensors\t7 bytes, written at 1.0\nconfig.json\t2 bytes, written at 1.0\n";
  EXPECT_EQ(describe_difference(before, before), "");
  EXPECT_EQ(describe_difference(
                before, "a.safetensors\t9 bytes, written at 2.0\nconfig.json\t2 bytes, written at 1.0\n"),
            "a.safetensors has changed: 9 bytes instead of 7, written at 2.0 instead of 1.0");
  EXPECT_EQ(describe_difference(before, "config.json\t2 bytes, written at 1.0\n"),
            "a.safetensors is gone (7 bytes, written at 1.0)");
  EXPECT_EQ(describe_difference(before, before + "b.safetensors\t1 bytes, written at 3.0\n"),
            "b.safetensors is new (1 bytes, written at 3.0)");
}

TEST(Fingerprint, AFileReplacedByOneOfTheSameSizeAndTimeDiffers) {
  const std::filesystem::path folder = std::filesystem::path(testing::TempDir()) / "fingerprint_swap";
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  const auto path = folder / "model.safetensors", next = folder / "next";
  std::ofstream(path) << "weights";
  const std::string before = fingerprint(folder).value();
  std::ofstream(next) << "WEIGHTS";
  std::filesystem::last_write_time(next, std::filesystem::last_write_time(path));
  std::filesystem::rename(next, path);
  const std::string after = fingerprint(folder).value();
  EXPECT_NE(describe_difference(before, after).find("inode"), std::string::npos) << after;
  EXPECT_NE(file_times_in(before), file_times_in(after));
  EXPECT_EQ(file_times_in(after), file_times(folder).value());
  std::filesystem::remove_all(folder);
}

TEST(Fingerprint, NamesAFolderThatIsNotThere) {
  const auto missing = fingerprint("/no/such/folder");
  ASSERT_FALSE(missing.has_value());
  EXPECT_NE(missing.error().message().find("/no/such/folder"), std::string::npos);
}

}  // namespace
}  // namespace concertina::checkpoint
