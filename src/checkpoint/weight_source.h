#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/result.h"
#include "tensor/tensor.h"

namespace concertina::checkpoint {

// Where weights come from, one tensor at a time: a folder of safetensors, memory that the front has filled,
// or seeded random numbers. Any thread.
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

  // Elements [first, first + n) of what load() gives, in that dtype, into `out`: for who fills memory of his
  // own. Unlike load()'s, an error tells of a file that ends too soon. As it stands here it copies from
  // load().
  virtual Status read(const std::string& name, const tensor::Shape& shape, std::uint64_t first,
                      std::uint64_t n, void* out) const;

  // The tensor as I8, if this source keeps it so; none: the caller quantizes what load() gives.
  virtual std::optional<tensor::Weight> quantized(const std::string&) const { return std::nullopt; }

  // What load() gives lies in memory that ranks share: it costs a rank none of its own.
  virtual bool is_shared(const std::string&) const { return false; }

  // For errors: the tensor and the file it is in.
  virtual std::string describe(const std::string& name) const { return "tensor " + name; }
};

}  // namespace concertina::checkpoint
