#pragma once

#include <optional>
#include <string>

#include "base/result.h"

namespace concertina::front {

// How every rank of a deployment computes. Two forms round differently, so that a stream would change with
// the rank: it is decided once, before the first rank starts, and kept with the state.
struct Form {
  std::string instruction_set;               // "portable", "avx2" or "avx512"
  std::string quantization = "none";         // or "int8"
  std::string activation_dtype = "float32";  // or "bfloat16"
  bool operator==(const Form&) const = default;
};
std::string describe(const Form& form);  // "avx512, quantization none, activations float32"

// What flags said; empty: nothing.
struct FormFlags {
  std::string instruction_set, quantization, activation_dtype;
};

// Flags first, then what was kept, then defaults: the best instruction set here, float32. An instruction set
// that was kept and is not there on this machine falls back to the default too. An error names the flag.
Result<Form> decide_form(const FormFlags& flags, const std::optional<Form>& kept);

}  // namespace concertina::front
