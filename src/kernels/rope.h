#pragma once

#include <cstdint>
#include <span>
#include <vector>

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

}  // namespace concertina::kernels
