#include "worker/identity.h"

#include "kernels/digest.h"

namespace concertina::worker {

BuildIdentity own_identity(device::InstructionSet set) {
  return {.version = CONCERTINA_VERSION,
          .build_id = own_build_id(),
          .kernel_digest = std::string(kernels::digest()),
          .instruction_set = device::name_of(set)};
}

}  // namespace concertina::worker
