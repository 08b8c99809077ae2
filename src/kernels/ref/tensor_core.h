#pragma once

#include <cstdint>
#include <span>

#include "tensor/bf16.h"

// What a Hopper's tensor core computes of a BF16 product, to the last bit: the exact oracle of every product
// on the GPU, without one. Seen on H100 and H200 (docs/gpu.md); the function is that of X. Li et al.,
// "MMA-Sim", 2025, section "truncated fused dot product".
namespace concertina::kernels::ref {

// sum + a . b over 16 values: all products and the sum, aligned to the largest exponent among them, are cut
// to 25 bits behind the point, added exactly, and the result is cut to a float. So the order of the sixteen
// does not matter. NaN is 0x7fffffff; numbers below 2^-126 count.
float add_block(float sum, std::span<const std::uint16_t, 16> a, std::span<const std::uint16_t, 16> b);

// One accumulator from zero over K in blocks of 16; K is a multiple of 16.
float chain(std::span<const std::uint16_t> a, std::span<const std::uint16_t> b);

// n_spans chains of equal length, added ascending in float32.
float spans_of_chains(std::span<const std::uint16_t> a, std::span<const std::uint16_t> b,
                      std::size_t n_spans);

float widen(std::uint16_t bf16);
using tensor::round_to_bf16;

}  // namespace concertina::kernels::ref
