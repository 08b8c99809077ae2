#include "cli/decide_form.h"

#include <fmt/format.h>

#include "cli/error.h"
#include "device/instruction_set.h"
#include "kernels/quantize.h"
#include "model/model.h"

namespace concertina::cli {

using front::Form;

std::string describe(const Form& form) {
  return fmt::format("{}, quantization {}, activations {}", form.instruction_set, form.quantization,
                     form.activation_dtype);
}

namespace {

// Of a damaged folder, or of a later version's.
Status check_kept(const Form& kept) {
  const auto unusable = [](const Error& error) {
    return fail(CliError::kBadState, "the form that --state-dir kept: " + error.message());
  };
  if (const auto known = model::parse_quantization(kept.quantization); !known) return unusable(known.error());
  if (const auto known = kernels::parse_activation_type(kept.activation_dtype); !known)
    return unusable(known.error());
  return {};
}

std::string activation_dtype_of(const FormFlags& flags, device::InstructionSet set) {
  const bool by_table = flags.activation_dtype == "auto";
  return by_table ? kernels::name_of(kernels::faster_activation_type(set)) : flags.activation_dtype;
}

}  // namespace

Result<Form> decide_form(const FormFlags& flags, const std::optional<Form>& kept) {
  if (flags.quantization == "int8" && flags.activation_dtype == "bfloat16")
    return fail(CliError::kBadFlag,
                "--activation-dtype bfloat16 with --quantization int8: activations are int8 then, leave one "
                "of the two out");
  if (kept) RETURN_IF_ERROR(check_kept(*kept));
  Form form = kept.value_or(Form{});
  if (!device::parse_instruction_set(form.instruction_set)) form.instruction_set.clear();
  if (!flags.instruction_set.empty()) form.instruction_set = flags.instruction_set;
  ASSIGN_OR_RETURN(const device::InstructionSet set, device::parse_instruction_set(form.instruction_set));
  form.instruction_set = device::name_of(set);
  if (!flags.quantization.empty()) form.quantization = flags.quantization;
  if (!flags.activation_dtype.empty()) form.activation_dtype = activation_dtype_of(flags, set);
  // What a flag asks for counts more than the other of the two, kept or found in the table.
  if (flags.activation_dtype == "bfloat16") form.quantization = "none";
  if (form.quantization == "int8") form.activation_dtype = "float32";
  return form;
}

}  // namespace concertina::cli
