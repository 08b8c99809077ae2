#pragma once

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace concertina::tokenizer {

// A model folder for one test; gone with it.
class TestFolder {
 public:
  TestFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "tokenizer_test_XXXXXX").string();
    path_ = ::mkdtemp(name.data());
  }
  explicit TestFolder(const std::string& tokenizer_json) : TestFolder() {
    write("tokenizer.json", tokenizer_json);
  }
  ~TestFolder() { std::filesystem::remove_all(path_); }
  TestFolder(const TestFolder&) = delete;

  void write(const std::string& name, const std::string& text) {
    std::ofstream(path_ / name, std::ios::binary) << text;
  }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace concertina::tokenizer
