// The vectors come first: the loops are written in their terms.
// clang-format off
#include "kernels/cpu/vector_avx512.h"
#include "kernels/cpu/pairs_dot.h"
#include "kernels/cpu/ops_impl.h"
// clang-format on

namespace concertina::kernels::cpu {
const Ops kAvx512Bf16Ops = make_ops();
}
