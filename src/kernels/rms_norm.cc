#include "kernels/rms_norm.h"

#include "base/check.h"
#include "kernels/cpu/launch.h"

namespace concertina::kernels {

void rms_norm(std::span<const float> x, const tensor::Weight& weight, float epsilon, std::span<float> y,
              std::size_t n_rows, device::Stream& on) {
  const auto width = static_cast<std::size_t>(weight.shape[0]);
  CHECK(x.size() >= n_rows * width && y.size() >= n_rows * width);
  cpu::rms_norm(x, weight, epsilon, y, n_rows, on);
}

void add_rms_norm(std::span<float> hidden, std::span<const float> delta, const tensor::Weight& weight,
                  float epsilon, std::span<float> y, std::size_t n_rows, device::Stream& on) {
  const auto width = static_cast<std::size_t>(weight.shape[0]);
  CHECK(hidden.size() >= n_rows * width && delta.size() >= n_rows * width && y.size() >= n_rows * width);
  cpu::add_rms_norm(hidden, delta, weight, epsilon, y, n_rows, on);
}

}  // namespace concertina::kernels
