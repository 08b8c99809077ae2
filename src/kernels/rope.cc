#include "kernels/rope.h"

#include <cmath>

#include "base/check.h"
#include "kernels/cpu/rows.h"

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

void rope(std::span<float> x, std::span<const std::uint32_t> positions, const RopeTable& table,
          std::size_t n_heads, std::size_t head_dim, device::Stream& on) {
  const std::size_t row_floats = n_heads * head_dim;
  CHECK(x.size() >= positions.size() * row_floats && table.rotary_dim() <= head_dim);
  const cpu::Ops& ops = cpu::ops_of(on.instruction_set());
  on.for_rows(positions.size(), row_floats, [&](std::size_t row) {
    cpu::rotate_heads(ops, table, positions[row], n_heads, head_dim, x.data() + row * row_floats);
  });
}

}  // namespace concertina::kernels
