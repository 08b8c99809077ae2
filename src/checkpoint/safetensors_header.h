#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>

#include "base/result.h"
#include "tensor/tensor.h"

namespace concertina::checkpoint {

// Where one tensor lies in its file.
struct TensorEntry {
  std::string dtype;           // as the file spells it; any of the format's, also those we cannot compute with
  tensor::Shape shape;
  std::size_t begin = 0;       // bytes from the start of the file
  std::size_t end = 0;
};

using TensorTable = std::map<std::string, TensorEntry>;

// Reads the header of a safetensors file: 8 bytes of length (little-endian), that much JSON, then the data
// (format of huggingface/safetensors). `file` is the whole file, of which only the header is touched; `name` begins the
// messages. Pure. An accepted table is sound: every range lies in the file, has the size of shape and dtype, and the ranges
// tile the data without gap or overlap.
Result<TensorTable> parse_safetensors_header(std::span<const std::byte> file, const std::string& name);

}  // namespace concertina::checkpoint
