#include "cli/decide_form.h"

#include <fmt/format.h>

#include "cli/error.h"
#include "kernels/instruction_set.h"
#include "kernels/quantize.h"

namespace concertina::cli {

using front::Form;

std::string describe(const Form& form) {
  return fmt::format("{}, quantization {}, activations {}", form.instruction_set, form.quantization,
                     form.activation_dtype);
}

namespace {
Status check(const char* field, const std::string& value, std::initializer_list<const char*> known) {
  for (const char* one : known) {
    if (value == one) return {};
  }
  return fail(CliError::kBadFlag,
              fmt::format("{} is \"{}\", but must be one of {}", field, value, fmt::join(known, ", ")));
}
}  // namespace

Result<Form> decide_form(const FormFlags& flags, const std::optional<Form>& kept) {
  Form form = kept.value_or(Form{});
  if (!kernels::parse_instruction_set(form.instruction_set)) form.instruction_set.clear();
  if (!flags.instruction_set.empty()) form.instruction_set = flags.instruction_set;
  if (!flags.quantization.empty()) form.quantization = flags.quantization;
  ASSIGN_OR_RETURN(const kernels::InstructionSet set, kernels::parse_instruction_set(form.instruction_set));
  form.instruction_set = kernels::name_of(set);
  if (!flags.activation_dtype.empty()) {
    ASSIGN_OR_RETURN(const auto activations, kernels::parse_activation_type(flags.activation_dtype));
    form.activation_dtype = kernels::name_of(activations);
  }
  RETURN_IF_ERROR(check("--quantization", form.quantization, {"none", "int8"}));
  RETURN_IF_ERROR(check("--activation-dtype", form.activation_dtype, {"float32", "bfloat16"}));
  if (form.quantization == "none" || form.activation_dtype == "float32") return form;
  if (flags.activation_dtype == "bfloat16" && flags.quantization == form.quantization)
    return fail(CliError::kBadFlag,
                fmt::format("--activation-dtype bfloat16 with --quantization {}: activations are int8 then, "
                            "leave one of the two out",
                            form.quantization));
  // One of the two was kept, or found in a table: the one that a flag asked for counts.
  if (flags.activation_dtype == "bfloat16") {
    form.quantization = "none";
  } else {
    form.activation_dtype = "float32";
  }
  return form;
}

}  // namespace concertina::cli
