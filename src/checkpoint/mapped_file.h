#pragma once

#include <filesystem>
#include <memory>
#include <span>

#include "base/result.h"

namespace concertina::checkpoint {

// A whole file, mapped read-only; its size is fixed when it is opened. Ranks of one machine share its pages.
// No read inside bytes() faults unless somebody shortens the file meanwhile: replace a checkpoint by
// renaming, not by writing into it.
class MappedFile {
 public:
  static Result<std::shared_ptr<const MappedFile>> open(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return bytes_; }
  const std::filesystem::path& path() const { return path_; }

 private:
  MappedFile() = default;
  std::filesystem::path path_;
  std::span<const std::byte> bytes_;
};

}  // namespace concertina::checkpoint
