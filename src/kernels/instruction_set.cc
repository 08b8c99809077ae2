#include "kernels/instruction_set.h"

#include <atomic>

#include "base/check.h"
#include "kernels/cpu/ops.h"

namespace concertina::kernels {

const char* name_of(InstructionSet set) { return set == InstructionSet::kAvx512 ? "avx512" : "portable"; }

bool is_supported(InstructionSet set) {
  if (set == InstructionSet::kPortable) return true;
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("fma");
}

namespace {
std::atomic<InstructionSet>& current() {
  static std::atomic<InstructionSet> set =
      is_supported(InstructionSet::kAvx512) ? InstructionSet::kAvx512 : InstructionSet::kPortable;
  return set;
}
}  // namespace

InstructionSet current_instruction_set() { return current(); }

void select_instruction_set(InstructionSet set) {
  CHECK(is_supported(set), "this processor lacks {}", name_of(set));
  current() = set;
}

Result<InstructionSet> parse_instruction_set(std::string_view name) {
  if (name.empty()) return current_instruction_set();
  for (const InstructionSet set : {InstructionSet::kPortable, InstructionSet::kAvx512}) {
    if (name != name_of(set)) continue;
    if (is_supported(set)) return set;
    return fail(KernelError::kUnsupportedInstructionSet, fmt::format("this processor lacks {}", name));
  }
  return fail(KernelError::kUnknownInstructionSet,
              fmt::format("unknown instruction set \"{}\": must be portable or avx512", name));
}

namespace cpu {
const Ops& current_ops() { return current() == InstructionSet::kAvx512 ? kAvx512Ops : kPortableOps; }
}  // namespace cpu

}  // namespace concertina::kernels
