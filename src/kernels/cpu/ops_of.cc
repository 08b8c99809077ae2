#include "kernels/cpu/int8.h"
#include "kernels/cpu/ops.h"

namespace concertina::kernels::cpu {

const Ops& ops_of(device::InstructionSet set) {
  static const bool has_bf16 = __builtin_cpu_supports("avx512bf16");
  switch (set) {
    case device::InstructionSet::kPortable:
      return kPortableOps;
    case device::InstructionSet::kAvx2:
      return kAvx2Ops;
    case device::InstructionSet::kAvx512:
      return has_bf16 ? kAvx512Bf16Ops : kAvx512Ops;
  }
  return kPortableOps;
}

const Int8Ops& int8_ops_of(device::InstructionSet set) {
  static const bool has_vnni = __builtin_cpu_supports("avx512vnni");
  if (set == device::InstructionSet::kPortable) return kPortableInt8Ops;
  return set == device::InstructionSet::kAvx512 && has_vnni ? kAvx512VnniInt8Ops : kAvx2Int8Ops;
}

}  // namespace concertina::kernels::cpu
