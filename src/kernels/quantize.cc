#include "kernels/quantize.h"

#include <cpuid.h>

#include "base/check.h"
#include "kernels/cpu/launch.h"

namespace concertina::kernels {

tensor::Weight quantize_int8(const tensor::Weight& weight) {
  CHECK(weight.shape.size() == 2, "weight is {}", tensor::to_string(weight.shape));
  return cpu::quantize_int8(weight);
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

}  // namespace concertina::kernels
