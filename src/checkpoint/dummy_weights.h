#pragma once

#include <cstdint>

#include "checkpoint/weight_source.h"

namespace concertina::checkpoint {

// Seeded random weights for `--load-format dummy`: benchmarks and tests of a shape without its checkpoint. A
// tensor depends on (seed, name, shape) alone, so every rank makes the same expert by itself. Vectors (norms)
// are 1; a matrix [n_out, n_in] is uniform with variance 1 / n_in, which keeps activations and logits near
// unit variance at any depth. Every name is there, of any shape. Stateless; any thread.
class DummyWeights : public WeightSource {
 public:
  // `dtype`: kF32 or kBF16, what load() hands out.
  explicit DummyWeights(std::uint64_t seed, tensor::DType dtype = tensor::DType::kBF16);

  Result<tensor::Weight> load(const std::string& name, const tensor::Shape& shape) const override;
  Result<tensor::DType> verify(const std::string& name, const tensor::Shape& shape) const override;
  bool contains(const std::string&) const override { return true; }
  Status read(const std::string& name, const tensor::Shape& shape, std::uint64_t first, std::uint64_t n,
              void* out) const override;

 private:
  std::uint64_t seed_;
  tensor::DType dtype_;
};

}  // namespace concertina::checkpoint
