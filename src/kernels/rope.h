#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "device/stream.h"

namespace concertina::kernels {

// Cosines and sines of every position, computed in double and kept in float. (Su et al., RoFormer, 2021.)
class RopeTable {
 public:
  RopeTable(std::size_t max_positions, std::size_t rotary_dim, double theta);
  std::span<const float> cosines(std::size_t position) const;  // [rotary_dim / 2]
  std::span<const float> sines(std::size_t position) const;    // [rotary_dim / 2]
  std::size_t max_positions() const { return cosines_.size() / half_; }
  std::size_t rotary_dim() const { return 2 * half_; }

 private:
  std::size_t half_;
  std::vector<float> cosines_, sines_;  // [max_positions, rotary_dim / 2]
};

// Rotates the first rotary_dim of each head in place; element i is paired with i + rotary_dim / 2.
void rope(std::span<float> x,                        // [n_rows, n_heads, head_dim]
          std::span<const std::uint32_t> positions,  // [n_rows]
          const RopeTable& table, std::size_t n_heads, std::size_t head_dim, device::Stream& on);

}  // namespace concertina::kernels
