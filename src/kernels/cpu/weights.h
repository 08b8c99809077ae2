#pragma once

#include "base/check.h"
#include "kernels/cpu/int8.h"
#include "kernels/cpu/ops.h"
#include "tensor/tensor.h"

namespace concertina::kernels::cpu {

inline Int8Weight int8_of(const tensor::Weight& weight) {
  return {static_cast<const std::int8_t*>(weight.data), weight.scales, weight.sums};
}

inline const Bf16* bf16_of(const tensor::Weight& weight) { return static_cast<const Bf16*>(weight.data); }

// Calls f(data) with the weight's address as its own element type.
template <typename F>
void with_elements(const tensor::Weight& weight, const F& f) {
  switch (weight.dtype) {
    case tensor::DType::kF32:
      return f(static_cast<const float*>(weight.data));
    case tensor::DType::kBF16:
      return f(static_cast<const Bf16*>(weight.data));
    case tensor::DType::kF16:
    case tensor::DType::kI8:
      break;
  }
  CHECK(false, "a weight in {} reached a kernel for F32 and BF16: F16 is widened when loaded",
        name_of(weight.dtype));
}

}  // namespace concertina::kernels::cpu
