#include "kernels/rms_norm.h"

#include "kernels/cpu/weights.h"

namespace concertina::kernels {

void rms_norm(std::span<const float> x, const tensor::Weight& weight, float epsilon, std::span<float> y,
              std::size_t n_rows) {
  const auto width = static_cast<std::size_t>(weight.shape[0]);
  CHECK(x.size() >= n_rows * width && y.size() >= n_rows * width);
  cpu::with_elements(weight, [&]<typename W>(const W* w) {
    for (std::size_t m = 0; m < n_rows; ++m) {
      cpu::current_ops().of<W>().rms_norm(x.data() + m * width, w, width, epsilon, y.data() + m * width);
    }
  });
}

}  // namespace concertina::kernels
