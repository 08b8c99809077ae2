#include "checkpoint/dummy_weights.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <new>
#include <span>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/check.h"
#include "base/random.h"
#include "checkpoint/error.h"
#include "tensor/bf16.h"

namespace concertina::checkpoint {

namespace {

void store(float* out, std::size_t i, float value) { out[i] = value; }
void store(std::uint16_t* out, std::size_t i, float value) { out[i] = tensor::round_to_bf16(value); }

// Elements [first, first + n) of a uniform tensor in [-bound, bound): four a call of the generator.
template <typename Element>
void fill_uniform(Element* out, std::uint64_t first, std::uint64_t n, std::uint64_t key, float bound) {
  const std::array<std::uint32_t, 2> key_words = {static_cast<std::uint32_t>(key),
                                                  static_cast<std::uint32_t>(key >> 32)};
  for (std::uint64_t four = first / 4 * 4; four < first + n; four += 4) {
    const auto words = philox4x32(
        {static_cast<std::uint32_t>(four >> 2), static_cast<std::uint32_t>(four >> 34), 0, 2}, key_words);
    for (std::uint64_t i = std::max(four, first); i < std::min(four + 4, first + n); ++i) {
      store(out, i - first, (static_cast<float>(words[i - four] >> 8) * 0x1p-23f - 1.0f) * bound);
    }
  }
}

// Vectors are ones.
template <typename Element>
void fill(Element* out, const tensor::Shape& shape, std::uint64_t first, std::uint64_t n, std::uint64_t key) {
  if (shape.size() >= 2)
    return fill_uniform(out, first, n, key, std::sqrt(3.0f / static_cast<float>(shape.back())));
  for (std::uint64_t i = 0; i < n; ++i) store(out, i, 1.0f);
}

template <typename Element>
Result<tensor::Weight> make(tensor::DType dtype, const std::string& name, const tensor::Shape& shape,
                            std::uint64_t key) {
  const auto n = static_cast<std::size_t>(tensor::count_of(shape));
  constexpr std::size_t kAddressSpaceBytes = std::size_t{1}
                                             << 47;  // beyond it some allocators abort instead of failing
  std::shared_ptr<Element[]> data;
  if (n < kAddressSpaceBytes / sizeof(Element)) data.reset(new (std::nothrow) Element[n == 0 ? 1 : n]);
  if (!data) {
    return fail(CheckpointError::kOutOfMemory,
                fmt::format("dummy weights: tensor '{}' {}: no memory for {} bytes", name,
                            tensor::to_string(shape), n * sizeof(Element)));
  }
  fill(data.get(), shape, 0, n, key);
  return tensor::Weight{dtype, shape, data.get(), data};
}

std::uint64_t key_of(const std::string& name, std::uint64_t seed) {
  return XXH3_64bits_withSeed(name.data(), name.size(), seed);
}

}  // namespace

DummyWeights::DummyWeights(std::uint64_t seed, tensor::DType dtype) : seed_(seed), dtype_(dtype) {
  CHECK(dtype == tensor::DType::kF32 || dtype == tensor::DType::kBF16);
}

Result<tensor::Weight> DummyWeights::load(const std::string& name, const tensor::Shape& shape) const {
  RETURN_IF_ERROR(verify(name, shape));
  const std::uint64_t key = key_of(name, seed_);
  return dtype_ == tensor::DType::kF32 ? make<float>(dtype_, name, shape, key)
                                       : make<std::uint16_t>(dtype_, name, shape, key);
}

Status DummyWeights::read(const std::string& name, const tensor::Shape& shape, std::uint64_t first,
                          std::uint64_t n, void* out) const {
  RETURN_IF_ERROR(verify(name, shape));
  const std::uint64_t key = key_of(name, seed_);
  if (dtype_ == tensor::DType::kF32) {
    fill(static_cast<float*>(out), shape, first, n, key);
  } else {
    fill(static_cast<std::uint16_t*>(out), shape, first, n, key);
  }
  return {};
}

Result<tensor::DType> DummyWeights::verify(const std::string& name, const tensor::Shape& shape) const {
  std::int64_t bytes = 4;
  for (const std::int64_t extent : shape) {
    if (extent < 0 || __builtin_mul_overflow(bytes, extent, &bytes)) {
      return fail(CheckpointError::kWrongShape, fmt::format("dummy weights: tensor '{}': impossible shape {}",
                                                            name, tensor::to_string(shape)));
    }
  }
  return dtype_;
}

}  // namespace concertina::checkpoint
