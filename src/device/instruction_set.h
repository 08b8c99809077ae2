#pragma once

#include <cstdint>
#include <string_view>

#include "base/result.h"
#include "device/error.h"

namespace concertina::device {

// Narrowest first.
enum class InstructionSet : std::uint8_t { kPortable, kAvx2, kAvx512 };

inline constexpr InstructionSet kInstructionSets[] = {InstructionSet::kPortable, InstructionSet::kAvx2,
                                                      InstructionSet::kAvx512};

const char* name_of(InstructionSet set);  // "portable", "avx2", "avx512"
bool is_supported(InstructionSet set);    // by this processor
InstructionSet best_instruction_set();    // of those supported

// "" is the best one. An unknown or unsupported name is an error that lists the names.
Result<InstructionSet> parse_instruction_set(std::string_view name);

}  // namespace concertina::device
