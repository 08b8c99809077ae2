#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <vector>

#include "base/random.h"
#include "kernels/instruction_set.h"
#include "kernels/ref/reference.h"

namespace concertina::kernels {

// Random weights that lie as badly as a checkpoint may put them: BF16 on an odd address of 2 bytes, F32 of 4.
inline tensor::Weight random_weight(Random& random, tensor::Shape shape, tensor::DType dtype) {
  const auto n = static_cast<std::size_t>(tensor::count_of(shape));
  auto bytes = std::make_shared<std::vector<unsigned char>>(n * tensor::element_bytes(dtype) + 64);
  unsigned char* data = bytes->data();
  const std::size_t alignment = tensor::element_bytes(dtype);
  while (reinterpret_cast<std::uintptr_t>(data) % (2 * alignment) != alignment) ++data;
  for (std::size_t i = 0; i < n; ++i) {
    const float value = random.normal();
    std::uint32_t bits;
    std::memcpy(&bits, &value, 4);
    const auto half = static_cast<std::uint16_t>(bits >> 16);
    if (dtype == tensor::DType::kF32) {
      std::memcpy(data + 4 * i, &value, 4);
    } else {
      std::memcpy(data + 2 * i, &half, 2);
    }
  }
  return {dtype, std::move(shape), data, std::move(bytes)};
}

inline std::vector<float> random_rows(Random& random, std::size_t n) {
  std::vector<float> out(n);
  for (float& value : out) value = random.normal();
  return out;
}

inline ref::Matrix to_matrix(const std::vector<float>& rows, std::size_t width) {
  ref::Matrix out;
  for (std::size_t i = 0; i < rows.size(); i += width) {
    out.emplace_back(rows.begin() + static_cast<std::ptrdiff_t>(i),
                     rows.begin() + static_cast<std::ptrdiff_t>(i + width));
  }
  return out;
}

// Runs a test once with every instruction set that this processor has.
class EveryInstructionSet : public ::testing::TestWithParam<InstructionSet> {
 protected:
  void SetUp() override {
    if (!is_supported(GetParam())) GTEST_SKIP() << "this processor lacks " << name_of(GetParam());
    before_ = current_instruction_set();
    select_instruction_set(GetParam());
  }
  void TearDown() override {
    if (is_supported(GetParam())) select_instruction_set(before_);
  }

 private:
  InstructionSet before_ = InstructionSet::kPortable;
};

inline std::string set_name(const ::testing::TestParamInfo<InstructionSet>& info) {
  return name_of(info.param);
}
#define CONCERTINA_EVERY_SET(suite) \
  INSTANTIATE_TEST_SUITE_P(All, suite, ::testing::ValuesIn(kInstructionSets), set_name)

inline constexpr double kEpsilon = 0x1p-24;  // half a unit in the last place of 1

}  // namespace concertina::kernels
