#include "kernels/elementwise.h"

#include "base/check.h"
#include "kernels/cpu/launch.h"

namespace concertina::kernels {

void silu_multiply(std::span<const float> gate, std::span<const float> up, std::span<float> out,
                   device::Stream& on) {
  CHECK(gate.size() == up.size() && gate.size() == out.size());
  cpu::silu_multiply(gate, up, out, on);
}

}  // namespace concertina::kernels
