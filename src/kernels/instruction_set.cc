#include "kernels/instruction_set.h"

#include <atomic>

#include "base/check.h"
#include "kernels/cpu/int8.h"
#include "kernels/cpu/ops.h"

namespace concertina::kernels {

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

namespace {
InstructionSet best() {
  InstructionSet best = InstructionSet::kPortable;
  for (const InstructionSet set : kInstructionSets) {
    if (is_supported(set)) best = set;
  }
  return best;
}
std::atomic<InstructionSet>& current() {
  static std::atomic<InstructionSet> set = best();
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
  for (const InstructionSet set : kInstructionSets) {
    if (name != name_of(set)) continue;
    if (is_supported(set)) return set;
    return fail(KernelError::kUnsupportedInstructionSet, fmt::format("this processor lacks {}", name));
  }
  return fail(KernelError::kUnknownInstructionSet,
              fmt::format("unknown instruction set \"{}\": must be portable, avx2 or avx512", name));
}

namespace cpu {
const Ops& current_ops() {
  static const Ops* const kOps[] = {&kPortableOps, &kAvx2Ops,
                                    __builtin_cpu_supports("avx512bf16") ? &kAvx512Bf16Ops : &kAvx512Ops};
  return *kOps[static_cast<std::size_t>(current().load(std::memory_order_relaxed))];
}
const Int8Ops& current_int8_ops() {
  const InstructionSet set = current().load(std::memory_order_relaxed);
  static const bool has_vnni = __builtin_cpu_supports("avx512vnni");
  if (set == InstructionSet::kPortable) return kPortableInt8Ops;
  return set == InstructionSet::kAvx512 && has_vnni ? kAvx512VnniInt8Ops : kAvx2Int8Ops;
}
}  // namespace cpu

}  // namespace concertina::kernels
