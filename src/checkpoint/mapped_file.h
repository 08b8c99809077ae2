#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

#include "base/result.h"

namespace concertina::checkpoint {

// A whole file mapped read-only; ranks on one machine share its pages. The size is the one the file had when mapped, so
// every byte of bytes() can be read without SIGBUS as long as nobody shortens the file under a running server (which no
// mapping survives: replace a checkpoint by renaming a new folder into place). Movable; any thread may read.
class MappedFile {
 public:
  static Result<MappedFile> open(const std::filesystem::path& path);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  explicit MappedFile(std::span<const std::byte> bytes) : bytes_(bytes) {}
  std::span<const std::byte> bytes_;
};

}  // namespace concertina::checkpoint
