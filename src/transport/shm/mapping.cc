#include "transport/shm/mapping.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "transport/error.h"

namespace concertina::transport {

FileDescriptor& FileDescriptor::operator=(FileDescriptor&& other) noexcept {
  if (this != &other) {
    reset();
    fd_ = other.release();
  }
  return *this;
}

int FileDescriptor::release() { return std::exchange(fd_, -1); }

void FileDescriptor::reset() {
  if (fd_ >= 0) ::close(release());
}

Mapping::~Mapping() {
  if (data_ != nullptr) ::munmap(data_, size_);
}

Mapping::Mapping(Mapping&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

Mapping& Mapping::operator=(Mapping&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

Result<Mapping> Mapping::of_file(int fd, std::size_t n_bytes, Access access, const std::string& what) {
  const int protection = access == Access::kReadWrite ? PROT_READ | PROT_WRITE : PROT_READ;
  void* data = ::mmap(nullptr, n_bytes, protection, MAP_SHARED, fd, 0);
  if (data == MAP_FAILED) return fail(system_error(fmt::format("mmap of {} bytes of {}", n_bytes, what)));
  return Mapping(static_cast<std::byte*>(data), n_bytes);
}

Error system_error(const std::string& what) {
  const int code = errno;
  const bool is_shortage = code == ENOMEM || code == EMFILE || code == ENFILE || code == ENOSPC;
  return Error(is_shortage ? TransportError::kOutOfMemory : TransportError::kSystem,
               fmt::format("{}: {}", what, std::strerror(code)));
}

}  // namespace concertina::transport
