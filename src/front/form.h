#pragma once

#include <string>

namespace concertina::front {

// How every rank of a deployment computes. Two forms round differently, so that a stream would change with
// the rank: it is decided once, before the first rank starts, and kept with the state.
struct Form {
  std::string instruction_set;               // "portable", "avx2" or "avx512"
  std::string quantization = "none";         // or "int8"
  std::string activation_dtype = "float32";  // or "bfloat16"
  bool operator==(const Form&) const = default;
};

}  // namespace concertina::front
