#include "kernels/cpu/ops_impl.h"
#include "kernels/cpu/vector_avx512.h"

namespace concertina::kernels::cpu {
const Ops kAvx512Ops = make_ops();
}
