#include <algorithm>

#include "kernels/cpu/launch.h"
#include "kernels/cpu/ops.h"

namespace concertina::kernels::cpu {

void silu_multiply(std::span<const float> gate, std::span<const float> up, std::span<float> out,
                   device::Stream& on) {
  const Ops& ops = ops_of(on.instruction_set());
  constexpr std::size_t kPiece = 2048;  // whole vectors
  on.for_rows((gate.size() + kPiece - 1) / kPiece, 4 * kPiece, [&](std::size_t piece) {
    const std::size_t begin = piece * kPiece, n = std::min(kPiece, gate.size() - begin);
    ops.silu_multiply(gate.data() + begin, up.data() + begin, out.data() + begin, n);
  });
}

}  // namespace concertina::kernels::cpu
