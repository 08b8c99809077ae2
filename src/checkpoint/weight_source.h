#pragma once

#include <string>

#include "base/result.h"
#include "tensor/tensor.h"

namespace concertina::checkpoint {

// Where weights come from, one tensor at a time: a folder of safetensors, or seeded random numbers. Any
// thread.
class WeightSource {
 public:
  virtual ~WeightSource() = default;

  // The tensor `name`, which must have exactly `shape`: else an error that names file, tensor, found and
  // expected shape. F32 and BF16 come as they are; F16 is widened to F32. Reading one expert touches no other
  // expert's bytes.
  virtual Result<tensor::Weight> load(const std::string& name, const tensor::Shape& shape) const = 0;

  // The same checks without bringing the data in, and the dtype that load() would give; used by the front
  // before it starts ranks.
  virtual Result<tensor::DType> verify(const std::string& name, const tensor::Shape& shape) const = 0;

  virtual bool contains(const std::string& name) const = 0;
};

}  // namespace concertina::checkpoint
