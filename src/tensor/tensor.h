#pragma once

#include <fmt/format.h>

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

namespace concertina::tensor {

enum class DType : std::uint8_t { kF32, kBF16, kF16, kI8 };

std::size_t element_bytes(DType dtype);
const char* name_of(DType dtype);  // "F32", as safetensors spells it

// Row-major extents, outermost first. At most four.
using Shape = std::vector<std::int64_t>;
std::int64_t count_of(const Shape& shape);
std::string to_string(const Shape& shape);  // "[64, 32]"

// Read-only weights, wherever they lie: in a mapped checkpoint file or in memory of their own. `owner` keeps
// that alive; a Weight is cheap to copy. Row-major as in the checkpoint: a linear layer's is [n_out, n_in].
struct Weight {
  // kF32 or kBF16; checkpoints in F16 are widened to F32 when loaded. kI8 is made here, never read.
  DType dtype = DType::kF32;
  Shape shape;
  const void* data = nullptr;  // at least 2-byte aligned for BF16 and 4-byte aligned for F32; not more
  std::shared_ptr<const void> owner;
  const float* scales = nullptr;       // [rows] kI8: value = scale of the row * integer
  const std::int32_t* sums = nullptr;  // [rows] kI8: of a row's integers

  explicit operator bool() const { return data != nullptr; }
  std::size_t bytes() const { return static_cast<std::size_t>(count_of(shape)) * element_bytes(dtype); }
};

// A 64-byte aligned array of floats that owns its memory; zeroed once when made; never grows.
class FloatBuffer {
 public:
  FloatBuffer() = default;
  explicit FloatBuffer(std::size_t n_floats);
  float* data() { return data_.get(); }
  const float* data() const { return data_.get(); }
  std::size_t size() const { return size_; }

 private:
  struct Free {
    void operator()(float* pointer) const;
  };
  std::unique_ptr<float[], Free> data_;
  std::size_t size_ = 0;
};

}  // namespace concertina::tensor
