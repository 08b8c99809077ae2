#include "kernels/cpu/vector_portable.h"

#include "kernels/cpu/ops_impl.h"

namespace concertina::kernels::cpu {
const Ops kPortableOps = make_ops();
}
