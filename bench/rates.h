#pragma once

#include <cstddef>

namespace concertina::bench {

// What the processor and its memory give to n_threads at once, measured now.
struct MachineRates {
  double read_gb_s = 0;     // sequential reads of memory far larger than the caches
  double fma_gflop_s = 0;   // float32 multiply-adds in registers, two operations each; 0 without AVX2
  double bf16_gflop_s = 0;  // products in BF16, the same; 0 without the instruction
  double vnni_gop_s = 0;    // int8 multiply-adds, two operations each; 0 without the instruction
};
MachineRates measure_rates(std::size_t n_threads);

}  // namespace concertina::bench
