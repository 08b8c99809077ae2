#pragma once

#include <cstddef>
#include <string>

#include "model/config.h"

namespace concertina::bench::gpu {

// What the card gives, measured in the same run.
struct CardRates {
  double copy_gb_s = 0;       // of a device-to-device copy, bytes read and written
  double matrix_tflop_s = 0;  // of a large BF16 product through a library; 0: unknown, no limit
};

// The least that must move and be computed. What lies in the L2 anyway (rows between kernels) is not counted.
struct Work {
  double bytes = 0, flop = 0;
  Work operator+(const Work& other) const { return {bytes + other.bytes, flop + other.flop}; }
  Work operator*(double n) const { return {bytes * n, flop * n}; }
  // The larger of both; microseconds.
  double floor_us(const CardRates& rates) const;
};

// Qwen3-30B-A3B, cut to so many layers.
model::ModelConfig qwen3_30b(std::size_t n_layers);

// n_sequences with n_new tokens each, whose last sees n_seen positions.
struct Load {
  std::size_t n_sequences = 1, n_new = 1, n_seen = 512;
  std::size_t n_rows() const { return n_sequences * n_new; }
  std::string name() const;
};
Work linear_work(std::size_t n_rows, std::size_t n_out, std::size_t n_in);
Work attention_work(const model::GqaSpec& spec, const Load& load);
// `n_distinct` experts are chosen at all.
Work experts_work(const model::ModelConfig& config, std::size_t n_rows, double n_distinct);
// A whole step: all layers and the head.
Work step_work(const model::ModelConfig& config, const Load& load, double n_distinct);

}  // namespace concertina::bench::gpu
