#include "kernels/quantize.h"

#include <cpuid.h>

#include <memory>
#include <numeric>
#include <vector>

#include "kernels/cpu/int8.h"
#include "kernels/cpu/weights.h"

namespace concertina::kernels {

namespace {
struct Int8Memory {
  std::vector<std::int8_t> data;
  std::vector<float> scales;
  std::vector<std::int32_t> sums;
};
}  // namespace

tensor::Weight quantize_int8(const tensor::Weight& weight) {
  CHECK(weight.shape.size() == 2, "weight is {}", tensor::to_string(weight.shape));
  const auto n_out = static_cast<std::size_t>(weight.shape[0]),
             n_in = static_cast<std::size_t>(weight.shape[1]);
  auto memory = std::make_shared<Int8Memory>();
  memory->data.resize(n_out * n_in);
  memory->scales.resize(n_out);
  memory->sums.resize(n_out);
  std::vector<float> row(n_in);
  std::vector<std::uint8_t> bytes(n_in);
  // Widening is exact and int8 the same bits with every set.
  const device::InstructionSet set = device::best_instruction_set();
  cpu::with_elements(weight, [&]<typename W>(const W* w) {
    for (std::size_t n = 0; n < n_out; ++n) {
      cpu::ops_of(set).of<W>().widen(w + n * n_in, n_in, row.data());
      memory->scales[n] = cpu::int8_ops_of(set).quantize(row.data(), n_in, bytes.data());
      std::int8_t* const to = memory->data.data() + n * n_in;
      for (std::size_t k = 0; k < n_in; ++k) to[k] = static_cast<std::int8_t>(bytes[k] - 128);
      memory->sums[n] = std::accumulate(to, to + n_in, std::int32_t{0});
    }
  });
  return {.dtype = tensor::DType::kI8,
          .shape = weight.shape,
          .data = memory->data.data(),
          .owner = memory,
          .scales = memory->scales.data(),
          .sums = memory->sums.data()};
}

const char* name_of(ActivationType type) {
  return type == ActivationType::kBfloat16 ? "bfloat16" : "float32";
}

// Products in BF16 were measured to be faster than float32's multiply-adds on Zen 4 (the AMD family 25 that
// has them), twice, and on Zen 5 (family 26), 1.7 times. Others do half of float32's rate, or have not been
// measured.
ActivationType faster_activation_type(device::InstructionSet set) {
  if (set != device::InstructionSet::kAvx512) return ActivationType::kFloat32;
  unsigned signature = 0, unused_b = 0, unused_c = 0, unused_d = 0;
  if (!__builtin_cpu_is("amd") || !__builtin_cpu_supports("avx512bf16")) return ActivationType::kFloat32;
  __get_cpuid(1, &signature, &unused_b, &unused_c, &unused_d);
  const unsigned family = (signature >> 8 & 15) + (signature >> 20 & 255);
  const bool is_faster = family == 25 || family == 26;
  return is_faster ? ActivationType::kBfloat16 : ActivationType::kFloat32;
}

Result<ActivationType> parse_activation_type(std::string_view name) {
  for (const ActivationType known : {ActivationType::kFloat32, ActivationType::kBfloat16}) {
    if (name == name_of(known)) return known;
  }
  return fail(KernelError::kUnknownActivationType,
              fmt::format("unknown activation type \"{}\": must be float32 or bfloat16", name));
}

RowForm RowRoom::form_for(tensor::DType weight) const {
  if (weight == tensor::DType::kI8) return RowForm::kInt8;
  const bool is_narrowed = weight == tensor::DType::kBF16 && activations == ActivationType::kBfloat16;
  return is_narrowed ? RowForm::kBfloat16 : RowForm::kFloat32;
}

RowBuffer::RowBuffer(std::size_t n_rows, std::size_t width, ActivationType activations)
    : bytes_(n_rows * width * kNarrowedBytes), scales_(n_rows), activations_(activations) {}

void narrow_rows(std::span<const float* const> rows, std::size_t width, RowForm form, const RowRoom& room,
                 std::size_t first_row, device::InstructionSet set) {
  if (form == RowForm::kFloat32) return;
  const std::size_t n_rows = first_row + rows.size(), element_bytes = form == RowForm::kInt8 ? 1 : 2;
  CHECK(room.bytes.size() >= n_rows * width * element_bytes && room.scales.size() >= n_rows,
        "narrowed rows need room: {} of {}", n_rows, width);
  for (std::size_t m = 0; m < rows.size(); ++m) {
    std::uint8_t* const to = room.bytes.data() + (first_row + m) * width * element_bytes;
    if (form == RowForm::kInt8) {
      room.scales[first_row + m] = cpu::int8_ops_of(set).quantize(rows[m], width, to);
    } else {
      cpu::ops_of(set).narrow(rows[m], width, reinterpret_cast<cpu::Bf16*>(to));
    }
  }
}

void narrow_rows(std::span<const float> x, std::size_t width, RowForm form, const RowRoom& room,
                 device::Stream& on) {
  if (form == RowForm::kFloat32) return;
  on.pool().parallel_for(x.size() / width, 4, [&](std::size_t begin, std::size_t end) {
    for (std::size_t m = begin; m < end; ++m) {
      const float* const row = x.data() + m * width;
      narrow_rows({&row, 1}, width, form, room, m, on.instruction_set());
    }
  });
}

}  // namespace concertina::kernels
