#include "checkpoint/mapped_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "checkpoint/error.h"

namespace concertina::checkpoint {

Result<std::shared_ptr<const MappedFile>> MappedFile::open(const std::filesystem::path& path) {
  // O_NONBLOCK: opening a FIFO must not wait for a writer; it is refused below.
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) {
    const auto code = errno == ENOENT ? CheckpointError::kNotFound : CheckpointError::kUnreadable;
    const char* const why = strerror(errno);
    std::error_code unknown;
    const bool has_folder =
        path.parent_path().empty() || std::filesystem::exists(path.parent_path(), unknown);
    return fail(code, fmt::format("{}: cannot open: {}{}", path.string(), why,
                                  has_folder ? "" : ": there is no such folder, and nothing is downloaded"));
  }
  struct stat status {};
  if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) {
    close(fd);
    return fail(CheckpointError::kUnreadable, fmt::format("{}: not a regular file", path.string()));
  }
  std::shared_ptr<MappedFile> file(new MappedFile);
  file->path_ = path;
  file->fd_ = fd;
  if (status.st_size > 0) {
    void* const start = mmap(nullptr, static_cast<std::size_t>(status.st_size), PROT_READ, MAP_SHARED, fd, 0);
    if (start == MAP_FAILED) {
      return fail(CheckpointError::kUnreadable,
                  fmt::format("{}: cannot map {} bytes: {}", path.string(), status.st_size, strerror(errno)));
    }
    file->bytes_ = {static_cast<const std::byte*>(start), static_cast<std::size_t>(status.st_size)};
  }
  return std::shared_ptr<const MappedFile>(std::move(file));
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
  if (fd_ >= 0) close(fd_);
}

Status MappedFile::read(std::uint64_t offset, std::span<std::byte> out) const {
  while (!out.empty()) {
    const ssize_t n = pread(fd_, out.data(), out.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0)
      return fail(CheckpointError::kUnreadable,
                  fmt::format("{}: cannot read byte {}: {}", path_.string(), offset, strerror(errno)));
    if (n == 0)
      return fail(CheckpointError::kCorrupt,
                  fmt::format("{}: ends at byte {} of {}: it was shortened while it was read", path_.string(),
                              offset, bytes_.size()));
    offset += static_cast<std::uint64_t>(n);
    out = out.subspan(static_cast<std::size_t>(n));
  }
  return {};
}

Result<std::string> read_text(const std::filesystem::path& path, std::uint64_t max_bytes) {
  ASSIGN_OR_RETURN(const std::shared_ptr<const MappedFile> file, MappedFile::open(path));
  if (file->bytes().size() > max_bytes) {
    return fail(CheckpointError::kCorrupt, fmt::format("{}: has {} bytes; at most {} are read", path.string(),
                                                       file->bytes().size(), max_bytes));
  }
  std::string text(file->bytes().size(), '\0');
  RETURN_IF_ERROR(file->read(0, std::as_writable_bytes(std::span(text))));
  return text;
}

}  // namespace concertina::checkpoint
