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

TEST(Fingerprint, ADifferenceNamesTheFileAndHowItDiffers) {
  const std::string before = "a.safetensors\t7 bytes, written at 1.0\nconfig.json\t2 bytes, written at 1.0\n";
  EXPECT_EQ(describe_difference(before, before), "");
  EXPECT_EQ(describe_difference(
                before, "a.safetensors\t9 bytes, written at 2.0\nconfig.json\t2 bytes, written at 1.0\n"),
            "a.safetensors has 9 bytes, written at 2.0; it had 7 bytes, written at 1.0");
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
