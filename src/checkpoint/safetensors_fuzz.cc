// Any bytes as a safetensors file: an error or tensors within the file, and no read outside it.
#include <sys/mman.h>
#include <unistd.h>

#include <string>

#include "base/check.h"
#include "checkpoint/mapped_file.h"
#include "checkpoint/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace concertina::checkpoint;
  const int fd = memfd_create("input", MFD_CLOEXEC);
  CHECK(fd >= 0 && write(fd, data, size) == static_cast<ssize_t>(size));
  if (const auto file = MappedFile::open("/proc/self/fd/" + std::to_string(fd))) {
    if (const auto entries = read_safetensors(**file)) {
      for (const TensorEntry& entry : *entries) {
        for (const std::byte& byte : entry.bytes) (void)*static_cast<const volatile std::byte*>(&byte);
      }
    }
  }
  close(fd);
  return 0;
}
