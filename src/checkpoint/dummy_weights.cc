#include "checkpoint/dummy_weights.h"

#include <array>
#include <bit>
#include <cmath>
#include <new>
#include <span>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/check.h"
#include "base/random.h"
#include "checkpoint/error.h"

namespace concertina::checkpoint {

namespace {

std::uint16_t round_to_bf16(float value) {  // to nearest even; never NaN here
  const auto bits = std::bit_cast<std::uint32_t>(value);
  return static_cast<std::uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

void store(float* out, std::size_t i, float value) { out[i] = value; }
void store(std::uint16_t* out, std::size_t i, float value) { out[i] = round_to_bf16(value); }

template <typename Element>
void fill_ones(Element* out, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) store(out, i, 1.0f);
}

// Uniform in [-bound, bound): four elements a call of the generator.
template <typename Element>
void fill_uniform(Element* out, std::size_t n, std::uint64_t key, float bound) {
  const std::array<std::uint32_t, 2> key_words = {static_cast<std::uint32_t>(key),
                                                  static_cast<std::uint32_t>(key >> 32)};
  for (std::size_t i = 0; i < n; i += 4) {
    const auto words = philox4x32(
        {static_cast<std::uint32_t>(i >> 2), static_cast<std::uint32_t>(i >> 34), 0, 2}, key_words);
    for (std::size_t j = 0; j < 4 && i + j < n; ++j) {
      store(out, i + j, (static_cast<float>(words[j] >> 8) * 0x1p-23f - 1.0f) * bound);
    }
  }
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
  if (shape.size() < 2) {
    fill_ones(data.get(), n);
  } else {
    fill_uniform(data.get(), n, key, std::sqrt(3.0f / static_cast<float>(shape.back())));
  }
  return tensor::Weight{dtype, shape, data.get(), data};
}

}  // namespace

DummyWeights::DummyWeights(std::uint64_t seed, tensor::DType dtype) : seed_(seed), dtype_(dtype) {
  CHECK(dtype == tensor::DType::kF32 || dtype == tensor::DType::kBF16);
}

Result<tensor::Weight> DummyWeights::load(const std::string& name, const tensor::Shape& shape) const {
  RETURN_IF_ERROR(verify(name, shape));
  const std::uint64_t key = XXH3_64bits_withSeed(name.data(), name.size(), seed_);
  return dtype_ == tensor::DType::kF32 ? make<float>(dtype_, name, shape, key)
                                       : make<std::uint16_t>(dtype_, name, shape, key);
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
