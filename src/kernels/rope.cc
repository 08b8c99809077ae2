#include "kernels/rope.h"

#include <cmath>

#include "base/check.h"

namespace concertina::kernels {

RopeTable::RopeTable(std::size_t max_positions, std::size_t rotary_dim, double theta)
    : half_(rotary_dim / 2), cosines_(max_positions * half_), sines_(max_positions * half_) {
  CHECK(rotary_dim % 2 == 0 && rotary_dim > 0);
  for (std::size_t i = 0; i < half_; ++i) {
    const double frequency = std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(rotary_dim));
    for (std::size_t position = 0; position < max_positions; ++position) {
      const double angle = static_cast<double>(position) * frequency;
      cosines_[position * half_ + i] = static_cast<float>(std::cos(angle));
      sines_[position * half_ + i] = static_cast<float>(std::sin(angle));
    }
  }
}

std::span<const float> RopeTable::cosines(std::size_t position) const {
  return std::span(cosines_).subspan(position * half_, half_);
}
std::span<const float> RopeTable::sines(std::size_t position) const {
  return std::span(sines_).subspan(position * half_, half_);
}

}  // namespace concertina::kernels
