#include "checkpoint/dummy_weights.h"

#include <bit>
#include <cmath>
#include <vector>

#include <xxhash.h>

#include "base/random.h"

namespace concertina::checkpoint {

namespace {
std::uint16_t to_bf16(float value) {  // finite values only; ties to even
  const auto bits = std::bit_cast<std::uint32_t>(value);
  return static_cast<std::uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}
}  // namespace

Result<tensor::Weight> DummyWeights::load(const std::string& name, const tensor::Shape& shape) const {
  const auto n = static_cast<std::size_t>(tensor::count_of(shape));
  auto values = std::make_shared<std::vector<std::uint16_t>>(n, to_bf16(1.0f));
  if (shape.size() > 1) {
    Random random(XXH3_64bits_withSeed(name.data(), name.size(), seed_));
    const float deviation = 1.0f / std::sqrt(static_cast<float>(shape.back()));
    for (std::uint16_t& value : *values) value = to_bf16(random.normal() * deviation);
  }
  const void* const data = values->data();
  return tensor::Weight{tensor::DType::kBF16, shape, data, std::move(values)};
}

Status DummyWeights::verify(const std::string&, const tensor::Shape&) const { return {}; }
bool DummyWeights::contains(const std::string&) const { return true; }

}  // namespace concertina::checkpoint
