#include "checkpoint/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "checkpoint/errors.h"

namespace concertina::checkpoint {

namespace {

tl::unexpected<Error> unreadable(const std::filesystem::path& path, const char* action) {
  return fail(CheckpointError::kFileUnreadable,
              fmt::format("{}: {}: {}", path.string(), action, std::generic_category().message(errno)));
}

Result<std::span<const std::byte>> map(int descriptor, const std::filesystem::path& path) {
  struct stat status {};
  if (::fstat(descriptor, &status) != 0) return unreadable(path, "cannot read its size");
  if (!S_ISREG(status.st_mode)) {
    return fail(CheckpointError::kFileUnreadable, fmt::format("{}: not a regular file", path.string()));
  }
  const auto size = static_cast<std::size_t>(status.st_size);
  if (size == 0) return std::span<const std::byte>();  // mmap refuses a length of 0
  void* address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, descriptor, 0);
  if (address == MAP_FAILED) return unreadable(path, "cannot map");
  return std::span(static_cast<const std::byte*>(address), size);
}

}  // namespace

Result<MappedFile> MappedFile::open(const std::filesystem::path& path) {
  // O_NONBLOCK: opening a FIFO must not wait for a writer; it is refused below.
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) return unreadable(path, "cannot open");
  auto bytes = map(descriptor, path);
  ::close(descriptor);
  if (!bytes) return fail(std::move(bytes).error());
  return MappedFile(*bytes);
}

MappedFile::MappedFile(MappedFile&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(bytes_, other.bytes_);
  return *this;
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

}  // namespace concertina::checkpoint
