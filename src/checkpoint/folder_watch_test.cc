#include "checkpoint/folder_watch.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <future>

#include "checkpoint/fingerprint.h"

namespace concertina::checkpoint {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

// A folder as a hub's cache has it: names that lead to blobs elsewhere.
class Watched : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "concertina_watch_XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    root = pattern;
    fs::create_directories(root / "blobs");
    fs::create_directories(folder = root / "snapshots" / "main");
    std::ofstream(blob = root / "blobs" / "abc") << "12345678weights";
    std::ofstream(root / "blobs" / "def") << "{}";
    fs::create_symlink("../../blobs/abc", folder / "model.safetensors");
    fs::create_symlink("../../blobs/def", folder / "config.json");
  }
  void TearDown() override { fs::remove_all(root); }
  // What the watch says after `change`; it must, within a minute.
  template <typename Change>
  std::string said_after(const Change& change) {
    std::promise<std::string> said;
    auto heard = said.get_future();
    const FolderWatch watch(folder, fingerprint(folder).value(),
                            [&](const std::string& what) { said.set_value(what); });
    change();
    if (heard.wait_for(std::chrono::minutes(1)) != std::future_status::ready) return "nothing";
    return heard.get();
  }
  fs::path root, folder, blob;
};

// Whoever saw what only other files explain must not be faster than the watch.
TEST_F(Watched, WhoeverAsksForALookHearsOfAChangeThatWasThereFirst) {
  std::atomic<int> n_told = 0;
  FolderWatch watch(folder, fingerprint(folder).value(), [&](const std::string&) { ++n_told; });
  const auto n_told_after_a_look = [&] {
    std::promise<int> looked;
    watch.look([&] { looked.set_value(n_told); });
    auto heard = looked.get_future();
    return heard.wait_for(std::chrono::minutes(1)) == std::future_status::ready ? heard.get() : -1;
  };
  EXPECT_EQ(n_told_after_a_look(), 0);
  std::ofstream(blob, std::ios::app) << "!";
  EXPECT_EQ(n_told_after_a_look(), 1);
  EXPECT_EQ(n_told_after_a_look(), 1) << "it has said what it had to say, and answers";
}

TEST_F(Watched, AFileThatALinkLeadsToIsWrittenInPlace) {
  EXPECT_THAT(said_after([&] { std::ofstream(blob, std::ios::app) << "!"; }),
              HasSubstr("model.safetensors has changed: 16 bytes instead of 15"));
}

TEST_F(Watched, ABlobIsReplacedByOneOfTheSameSizeAndTime) {
  const std::string said = said_after([&] {
    std::ofstream(root / "new") << "12345678WEIGHTS";
    struct stat old {};
    ASSERT_EQ(stat(blob.c_str(), &old), 0);
    const timespec times[2] = {old.st_atim, old.st_mtim};
    ASSERT_EQ(utimensat(AT_FDCWD, (root / "new").c_str(), times, 0), 0);
    fs::rename(root / "new", blob);
  });
  EXPECT_THAT(said, HasSubstr("model.safetensors has changed: inode "));
  EXPECT_THAT(said, ::testing::Not(HasSubstr("bytes"))) << "what is the same is not told";
}

TEST_F(Watched, ALinkLeadsElsewhere) {
  std::ofstream(root / "blobs" / "other") << "12345678weights";
  EXPECT_THAT(said_after([&] {
                fs::create_symlink("../../blobs/other", folder / "next");
                fs::rename(folder / "next", folder / "model.safetensors");
              }),
              HasSubstr("model.safetensors has changed: inode "));
}

TEST_F(Watched, ATokenizerIsReplacedWhereTextsAreWatched) {
  std::ofstream(folder / "tokenizer.json") << "{}";
  std::promise<std::string> said;
  auto heard = said.get_future();
  const FolderWatch watch(
      folder, fingerprint(folder, Files::kTexts).value(),
      [&](const std::string& what) { said.set_value(what); }, Files::kTexts);
  std::ofstream(blob, std::ios::app) << "!";  // weights are another watch's
  std::ofstream(folder / "next") << "{ }";
  fs::rename(folder / "next", folder / "tokenizer.json");
  ASSERT_EQ(heard.wait_for(std::chrono::minutes(1)), std::future_status::ready);
  EXPECT_THAT(heard.get(), HasSubstr("tokenizer.json has changed: 3 bytes instead of 2"));
}

TEST_F(Watched, AFileComesAFileGoesTheFolderGoes) {
  EXPECT_THAT(said_after([&] { std::ofstream(folder / "more.safetensors") << "x"; }),
              HasSubstr("more.safetensors is new"));
  EXPECT_THAT(said_after([&] { fs::remove(folder / "more.safetensors"); }),
              HasSubstr("more.safetensors is gone"));
  EXPECT_THAT(said_after([&] { fs::rename(root / "snapshots", root / "gone"); }), HasSubstr("No such file"));
}

}  // namespace
}  // namespace concertina::checkpoint
