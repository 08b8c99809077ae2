#pragma once

#include "base/build_identity.h"
#include "device/instruction_set.h"

namespace concertina::worker {

// Of this process, as a rank says it in HELLO: with the instruction set in use.
BuildIdentity own_identity(device::InstructionSet set);

}  // namespace concertina::worker
