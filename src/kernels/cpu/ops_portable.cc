#include "kernels/cpu/ops_impl.h"
#include "kernels/cpu/vector_portable.h"

namespace concertina::kernels::cpu {
const Ops kPortableOps = make_ops();
}
