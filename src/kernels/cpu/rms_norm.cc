#include "kernels/cpu/launch.h"
#include "kernels/cpu/weights.h"

namespace concertina::kernels::cpu {

void rms_norm(std::span<const float> x, const tensor::Weight& weight, float epsilon, std::span<float> y,
              std::size_t n_rows, device::Stream& on) {
  const auto width = static_cast<std::size_t>(weight.shape[0]);
  const Ops& ops = ops_of(on.instruction_set());
  with_elements(weight, [&]<typename W>(const W* w) {
    on.for_rows(n_rows, width, [&](std::size_t m) {
      ops.of<W>().rms_norm(x.data() + m * width, w, width, epsilon, y.data() + m * width);
    });
  });
}

void add_rms_norm(std::span<float> hidden, std::span<const float> delta, const tensor::Weight& weight,
                  float epsilon, std::span<float> y, std::size_t n_rows, device::Stream& on) {
  const auto width = static_cast<std::size_t>(weight.shape[0]);
  const Ops& ops = ops_of(on.instruction_set());
  with_elements(weight, [&]<typename W>(const W* w) {
    on.for_rows(n_rows, 2 * width, [&](std::size_t m) {
      float* const row = hidden.data() + m * width;
      ops.add(row, delta.data() + m * width, width);
      ops.of<W>().rms_norm(row, w, width, epsilon, y.data() + m * width);
    });
  });
}

}  // namespace concertina::kernels::cpu
