#include "base/reserved_array.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstring>

namespace concertina::internal {

Result<void*> reserve_pages(std::size_t n_bytes, const char* what) {
  const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
  void* const pages = ::mmap(nullptr, n_bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
  if (pages != MAP_FAILED) return pages;
  return fail(ReserveError::kOutOfMemory,
              fmt::format("mmap of {} bytes for {}: {}", n_bytes, what, std::strerror(errno)));
}

void release_pages(void* pages, std::size_t n_bytes) { ::munmap(pages, n_bytes); }

}  // namespace concertina::internal
