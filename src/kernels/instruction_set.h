#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace concertina::kernels {

enum class KernelError { kUnknownInstructionSet, kUnsupportedInstructionSet, kUnknownActivationType };
// Narrowest first.
enum class InstructionSet { kPortable, kAvx2, kAvx512 };

inline constexpr InstructionSet kInstructionSets[] = {InstructionSet::kPortable, InstructionSet::kAvx2,
                                                      InstructionSet::kAvx512};

const char* name_of(InstructionSet set);          // "portable", "avx2", "avx512"
bool is_supported(InstructionSet set);            // by this processor
InstructionSet current_instruction_set();         // the best one unless selected
void select_instruction_set(InstructionSet set);  // for the whole process, between steps; must be supported

// "" is the best one. An unknown or unsupported name is an error that lists the names.
Result<InstructionSet> parse_instruction_set(std::string_view name);

}  // namespace concertina::kernels
