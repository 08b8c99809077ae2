#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <string>

#include "base/result.h"

namespace concertina::checkpoint {

// A whole file, mapped read-only; its size is fixed when it is opened. Ranks of one machine share its pages.
// No read inside bytes() faults unless somebody shortens the file meanwhile, and what is written into the
// file shows there; read() gives an error instead.
class MappedFile {
 public:
  static Result<std::shared_ptr<const MappedFile>> open(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return bytes_; }
  // Copies [offset, offset + out.size()). An error names the file and the byte where it ended.
  Status read(std::uint64_t offset, std::span<std::byte> out) const;
  const std::filesystem::path& path() const { return path_; }

 private:
  MappedFile() = default;
  std::filesystem::path path_;
  int fd_ = -1;
  std::span<const std::byte> bytes_;
};

// All of a file as text; one of more than max_bytes is refused.
Result<std::string> read_text(const std::filesystem::path& path, std::uint64_t max_bytes);

}  // namespace concertina::checkpoint
