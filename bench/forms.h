#pragma once

#include <string>

#include "base/check.h"
#include "kernels/quantize.h"
#include "model/model.h"

namespace concertina::bench {

// The forms of arithmetic by the names of their rows.
inline constexpr kernels::RowForm kForms[] = {kernels::RowForm::kFloat32, kernels::RowForm::kBfloat16,
                                              kernels::RowForm::kInt8};

inline const char* name_of(kernels::RowForm form) {
  switch (form) {
    case kernels::RowForm::kFloat32:
      return "float32";
    case kernels::RowForm::kBfloat16:
      return "bfloat16";
    case kernels::RowForm::kInt8:
      return "int8";
  }
  return "";
}
inline kernels::RowForm form_of(const std::string& name) {
  for (const kernels::RowForm form : kForms) {
    if (name == name_of(form)) return form;
  }
  CHECK(false, "\"{}\" is not a form: float32, bfloat16 or int8", name);
  return {};
}

inline model::Quantization quantization_of(kernels::RowForm form) {
  return form == kernels::RowForm::kInt8 ? model::Quantization::kInt8 : model::Quantization::kNone;
}
inline kernels::ActivationType activations_of(kernels::RowForm form) {
  return form == kernels::RowForm::kBfloat16 ? kernels::ActivationType::kBfloat16
                                             : kernels::ActivationType::kFloat32;
}

}  // namespace concertina::bench
