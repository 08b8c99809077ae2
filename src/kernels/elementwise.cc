#include "kernels/elementwise.h"

#include "base/check.h"
#include "kernels/cpu/ops.h"

namespace concertina::kernels {

void add(std::span<float> y, std::span<const float> x) {
  CHECK(y.size() == x.size());
  cpu::current_ops().add(y.data(), x.data(), y.size());
}

void silu_multiply(std::span<const float> gate, std::span<const float> up, std::span<float> out) {
  CHECK(gate.size() == up.size() && gate.size() == out.size());
  cpu::current_ops().silu_multiply(gate.data(), up.data(), out.data(), out.size());
}

}  // namespace concertina::kernels
