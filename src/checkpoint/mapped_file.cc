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
    return fail(code, fmt::format("{}: cannot open: {}", path.string(), strerror(errno)));
  }
  struct stat status {};
  if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) {
    close(fd);
    return fail(CheckpointError::kUnreadable, fmt::format("{}: not a regular file", path.string()));
  }
  std::shared_ptr<MappedFile> file(new MappedFile);
  file->path_ = path;
  if (status.st_size > 0) {
    void* const start = mmap(nullptr, static_cast<std::size_t>(status.st_size), PROT_READ, MAP_SHARED, fd, 0);
    if (start == MAP_FAILED) {
      const int error = errno;
      close(fd);
      return fail(CheckpointError::kUnreadable,
                  fmt::format("{}: cannot map {} bytes: {}", path.string(), status.st_size, strerror(error)));
    }
    file->bytes_ = {static_cast<const std::byte*>(start), static_cast<std::size_t>(status.st_size)};
  }
  close(fd);
  return std::shared_ptr<const MappedFile>(std::move(file));
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

}  // namespace concertina::checkpoint
