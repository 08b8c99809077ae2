#include "checkpoint/finite.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "base/check.h"
#include "checkpoint/error.h"

namespace concertina::checkpoint {

namespace {

constexpr std::uint64_t kBlock = 4096;  // elements between two looks at what was found

// An exponent of ones is an infinity or no number. No exit within: the compiler makes it wide.
template <typename Bits, Bits kExponent>
Bits any_not_finite(const Bits* bits, std::uint64_t n) {
  Bits found = 0;
  for (std::uint64_t i = 0; i < n; ++i)
    found |= static_cast<Bits>((bits[i] & kExponent) == kExponent ? static_cast<Bits>(~Bits{0}) : Bits{0});
  return found;
}

template <typename Bits, Bits kExponent>
std::optional<std::uint64_t> first_of(const Bits* bits, std::uint64_t n) {
  for (std::uint64_t begin = 0; begin < n; begin += kBlock) {
    const std::uint64_t end = std::min(n, begin + kBlock);
    if (any_not_finite<Bits, kExponent>(bits + begin, end - begin) == 0) continue;
    return std::find_if(bits + begin, bits + end, [](Bits b) { return (b & kExponent) == kExponent; }) - bits;
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::uint64_t> first_not_finite(const void* data, std::uint64_t n, tensor::DType dtype) {
  CHECK(dtype == tensor::DType::kF32 || dtype == tensor::DType::kBF16, "{}", name_of(dtype));
  return dtype == tensor::DType::kF32
             ? first_of<std::uint32_t, 0x7f800000u>(static_cast<const std::uint32_t*>(data), n)
             : first_of<std::uint16_t, 0x7f80u>(static_cast<const std::uint16_t*>(data), n);
}

Status check_finite(const WeightSource& source, const ArenaTensor& tensor, std::uint64_t first,
                    std::uint64_t n, const void* data) {
  const auto at = first_not_finite(data, n, tensor.source_dtype);
  if (!at) return {};
  const std::uint64_t index = first + *at;
  const auto width = static_cast<std::uint64_t>(tensor.shape.back());
  const std::string place = tensor.shape.size() < 2 ? fmt::format("[{}]", index)
                                                    : fmt::format("[{}, {}]", index / width, index % width);
  return fail(CheckpointError::kNotFinite,
              fmt::format("{}: element {} of {} is infinite or not a number; weights must be finite",
                          source.describe(tensor.name), place, tensor::to_string(tensor.shape)));
}

Status check_finite(const WeightSource& source, const ArenaTensor& tensor) {
  const auto n = static_cast<std::uint64_t>(tensor::count_of(tensor.shape));
  std::vector<std::uint32_t> buffer(16 * kBlock);  // room for as many elements of either dtype
  for (std::uint64_t first = 0; first < n; first += buffer.size()) {
    const std::uint64_t n_here = std::min<std::uint64_t>(buffer.size(), n - first);
    RETURN_IF_ERROR(source.read(tensor.name, tensor.shape, first, n_here, buffer.data()));
    RETURN_IF_ERROR(check_finite(source, tensor, first, n_here, buffer.data()));
  }
  return {};
}

}  // namespace concertina::checkpoint
