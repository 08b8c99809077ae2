#pragma once

#include <optional>
#include <string>

#include "base/result.h"
#include "front/form.h"

namespace concertina::cli {

// What flags said of the form; empty: nothing.
struct FormFlags {
  std::string instruction_set, quantization, activation_dtype;
};

// Flags first, then what was kept, then defaults: the best instruction set here, float32. An instruction set
// that was kept and is not there on this machine falls back to the default too. kBadFlag and kBadState name
// the field. `flags` hold known names.
Result<front::Form> decide_form(const FormFlags& flags, const std::optional<front::Form>& kept);

std::string describe(const front::Form& form);  // "avx512, quantization none, activations float32"

}  // namespace concertina::cli
