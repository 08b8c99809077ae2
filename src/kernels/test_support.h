#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <vector>

#include "base/random.h"
#include "device/stream.h"
#include "kernels/experts.h"
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

// Rows through the first of two experts, of weights that make(shape) gives: each alone with one thread, or
// all of them in another order with three. The second expert has a group too.
struct TwoExperts {
  static constexpr std::size_t kWidth = 80, kInner = 37, kRows = 21;

  template <typename Make>
  TwoExperts(Random& random, const Make& make) {
    const tensor::Shape in{kInner, kWidth}, out{kWidth, kInner};
    for (ExpertWeights* expert : {&first, &second}) *expert = {make(in), make(in), make(out)};
    x = random_rows(random, kRows * kWidth);
  }

  std::vector<float> alone(ActivationType activations, device::InstructionSet set) const {
    std::vector<float> y(x.size());
    device::Stream on(1, {}, set);
    for (std::size_t row = 0; row < kRows; ++row) run({row}, activations, on, y);
    return y;
  }
  std::vector<float> together(ActivationType activations, device::InstructionSet set) const {
    std::vector<float> y(x.size());
    std::vector<std::size_t> rows;
    for (std::size_t row = kRows; row > 0; --row) rows.push_back(row - 1);
    device::Stream on(3, {}, set);
    run(rows, activations, on, y);
    return y;
  }

  ExpertWeights first, second;
  std::vector<float> x;  // [kRows, kWidth]

 private:
  void run(const std::vector<std::size_t>& rows, ActivationType activations, device::Stream& on,
           std::vector<float>& y) const {
    std::vector<const float*> in;
    std::vector<float*> out;
    for (const std::size_t row : rows)
      in.push_back(x.data() + row * kWidth), out.push_back(y.data() + row * kWidth);
    std::vector<float> unused(kWidth), scratch((rows.size() + 1) * kInner);
    const std::vector<const float*> other_in{x.data()};
    const std::vector<float*> other_out{unused.data()};
    const ExpertRows groups[] = {{&second, other_in, other_out}, {&first, in, out}};
    RowBuffer narrowed(rows.size() + 1, kWidth, activations);
    expert_mlp(groups, scratch, on, narrowed.room());
  }
};

inline ref::Matrix to_matrix(const std::vector<float>& rows, std::size_t width) {
  ref::Matrix out;
  for (std::size_t i = 0; i < rows.size(); i += width) {
    out.emplace_back(rows.begin() + static_cast<std::ptrdiff_t>(i),
                     rows.begin() + static_cast<std::ptrdiff_t>(i + width));
  }
  return out;
}

// Runs a test once with every instruction set that this processor has: its streams take GetParam().
class EveryInstructionSet : public ::testing::TestWithParam<device::InstructionSet> {
 protected:
  void SetUp() override {
    if (!device::is_supported(GetParam())) GTEST_SKIP() << "this processor lacks " << name_of(GetParam());
  }
};

inline std::string set_name(const ::testing::TestParamInfo<device::InstructionSet>& info) {
  return name_of(info.param);
}
#define CONCERTINA_EVERY_SET(suite) \
  INSTANTIATE_TEST_SUITE_P(All, suite, ::testing::ValuesIn(device::kInstructionSets), set_name)

inline constexpr double kEpsilon = 0x1p-24;  // half a unit in the last place of 1

}  // namespace concertina::kernels
