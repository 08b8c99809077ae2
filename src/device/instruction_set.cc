#include "device/instruction_set.h"

#include <fmt/format.h>

namespace concertina::device {

const char* name_of(InstructionSet set) {
  switch (set) {
    case InstructionSet::kPortable:
      return "portable";
    case InstructionSet::kAvx2:
      return "avx2";
    case InstructionSet::kAvx512:
      return "avx512";
  }
  return "";
}

bool is_supported(InstructionSet set) {
  switch (set) {
    case InstructionSet::kPortable:
      return true;
    case InstructionSet::kAvx2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case InstructionSet::kAvx512:
      return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
             __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
             __builtin_cpu_supports("fma");
  }
  return false;
}

InstructionSet best_instruction_set() {
  InstructionSet best = InstructionSet::kPortable;
  for (const InstructionSet set : kInstructionSets) {
    if (is_supported(set)) best = set;
  }
  return best;
}

Result<InstructionSet> parse_instruction_set(std::string_view name) {
  if (name.empty()) return best_instruction_set();
  for (const InstructionSet set : kInstructionSets) {
    if (name != name_of(set)) continue;
    if (is_supported(set)) return set;
    return fail(DeviceError::kUnsupportedInstructionSet, fmt::format("this processor lacks {}", name));
  }
  return fail(DeviceError::kUnknownInstructionSet,
              fmt::format("unknown instruction set \"{}\": must be portable, avx2 or avx512", name));
}

}  // namespace concertina::device
