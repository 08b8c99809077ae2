// The vectors come first: the loops are written in their terms.
// clang-format off
#include "kernels/cpu/vector_portable.h"
#include "kernels/cpu/pairs.h"
#include "kernels/cpu/ops_impl.h"
// clang-format on

namespace concertina::kernels::cpu {
const Ops kPortableOps = make_ops();
}
