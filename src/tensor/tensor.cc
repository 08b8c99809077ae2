#include "tensor/tensor.h"

#include <sys/mman.h>

#include <cstdlib>
#include <cstring>

#include "base/check.h"

namespace concertina::tensor {

namespace {

constexpr std::size_t kHugePageBytes = std::size_t{2} << 20;

// Where [data, data + n_bytes) has room for them: a hint, before the memory is first written.
void prefer_huge_pages(void* data, std::size_t n_bytes) {
  const auto begin = reinterpret_cast<std::uintptr_t>(data);
  const std::uintptr_t first = (begin + kHugePageBytes - 1) / kHugePageBytes * kHugePageBytes,
                       end = (begin + n_bytes) / kHugePageBytes * kHugePageBytes;
  if (first < end) ::madvise(reinterpret_cast<void*>(first), end - first, MADV_HUGEPAGE);
}

}  // namespace

std::size_t element_bytes(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return 4;
    case DType::kBF16:
    case DType::kF16:
      return 2;
    case DType::kI8:
      return 1;
  }
  return 0;
}

const char* name_of(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return "F32";
    case DType::kBF16:
      return "BF16";
    case DType::kF16:
      return "F16";
    case DType::kI8:
      return "I8";
  }
  return "?";
}

std::int64_t count_of(const Shape& shape) {
  std::int64_t count = 1;
  for (const std::int64_t extent : shape) count *= extent;
  return count;
}

std::string to_string(const Shape& shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

FloatBuffer::FloatBuffer(std::size_t n_floats) : size_(n_floats) {
  const std::size_t bytes = (n_floats * sizeof(float) + 63) / 64 * 64;
  auto* pointer = static_cast<float*>(std::aligned_alloc(64, bytes == 0 ? 64 : bytes));
  CHECK(pointer != nullptr, "out of memory: {} bytes", bytes);
  prefer_huge_pages(pointer, bytes);
  std::memset(pointer, 0, bytes);
  data_.reset(pointer);
}

void FloatBuffer::Free::operator()(float* pointer) const { std::free(pointer); }

}  // namespace concertina::tensor
