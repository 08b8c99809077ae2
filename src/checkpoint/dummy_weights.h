#pragma once

#include "checkpoint/weight_source.h"

namespace concertina::checkpoint {

// Seeded random weights for any name and shape (--load-format dummy): a tensor depends on the seed and its name alone, so
// each rank makes the same expert by itself. One-dimensional tensors (norms) are 1; the others are normal, in BF16, with
// deviation 1 / sqrt(inner extent), which keeps activations near 1. Any thread.
class DummyWeights : public WeightSource {
 public:
  explicit DummyWeights(std::uint64_t seed) : seed_(seed) {}
  Result<tensor::Weight> load(const std::string& name, const tensor::Shape& shape) const override;
  Status verify(const std::string& name, const tensor::Shape& shape) const override;
  bool contains(const std::string& name) const override;  // whatever is asked for

 private:
  std::uint64_t seed_;
};

}  // namespace concertina::checkpoint
