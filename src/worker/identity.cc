#include "worker/identity.h"

#include "kernels/digest.h"
#include "kernels/instruction_set.h"

namespace concertina::worker {

BuildIdentity own_identity() {
  return {.version = CONCERTINA_VERSION,
          .build_id = own_build_id(),
          .kernel_digest = std::string(kernels::digest()),
          .instruction_set = kernels::name_of(kernels::current_instruction_set())};
}

}  // namespace concertina::worker
