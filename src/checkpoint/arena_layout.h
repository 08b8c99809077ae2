#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "tensor/tensor.h"

namespace concertina::checkpoint {

// A tensor that an arena is to hold.
struct ArenaTensor {
  std::string name;
  tensor::Shape shape;           // one or two extents
  tensor::DType source_dtype{};  // kF32 or kBF16, as WeightSource::verify() says
  tensor::DType dtype{};         // the same; or kI8: quantized by rows as it is copied
};

// Where it lies, in bytes from the arena's begin. Of kI8, scales and sums are [rows]; else 0.
struct ArenaEntry {
  std::string name;
  tensor::Shape shape;
  tensor::DType dtype{};
  std::uint64_t data = 0, scales = 0, sums = 0;
};

// An arena's memory, from its begin: a header, the table of entries, then the tensors, each 64-byte aligned.
// Pure.
struct ArenaLayout {
  std::vector<ArenaEntry> entries;  // in the order of the tensors
  std::string head;                 // header and table: the first bytes
  std::uint64_t n_bytes = 0;        // of all of it
};
ArenaLayout lay_out(std::span<const ArenaTensor> tensors);

// The table of an arena of `n_bytes`, of which `head` are the first bytes (all of them is fine). An error
// says what contradicts what; no entry reaches outside [0, n_bytes).
Result<std::vector<ArenaEntry>> parse_arena(std::span<const std::byte> head, std::uint64_t n_bytes);

}  // namespace concertina::checkpoint
