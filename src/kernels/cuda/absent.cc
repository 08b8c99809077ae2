// Instead of the .cu files where there was no nvcc. No device can be opened then, so nobody comes here.
#include "base/check.h"
#include "kernels/cuda/launch.h"

namespace concertina::kernels::cuda {

namespace {
void not_built() { CHECK(false, "built without CUDA"); }
}  // namespace

void linear(const Linear&, Stream) { not_built(); }
void embedding(const std::int32_t*, std::uint32_t, const Bf16*, std::uint32_t, float*, Stream) {
  not_built();
}
void add_rms_norm(const AddRmsNorm&, Stream) { not_built(); }
void gather_rows(const Bf16*, const std::uint32_t*, std::uint32_t, std::uint32_t, Bf16*, Stream) {
  not_built();
}
void prepare_heads(const PrepareHeads&, const AttentionStep&, const PagedKv&, Stream) { not_built(); }
void attend(const Bf16*, const AttentionStep&, const PagedKv&, float, std::uint32_t, Bf16*, Stream) {
  not_built();
}
void route(const Route&, Stream) { not_built(); }
std::uint32_t max_items(std::uint32_t, std::uint32_t) { return 0; }
void group_by_slot(const std::uint32_t*, std::uint32_t, std::uint32_t, const SlotLists&, Stream) {
  not_built();
}
void expert_mlp(const ExpertMlp&, Stream) { not_built(); }
void combine_norm(const CombineNorm&, Stream) { not_built(); }
void sample(const Sample&, Stream) { not_built(); }
void fill_random(Bf16*, std::uint64_t, float, std::uint64_t, Stream) { not_built(); }
void score(const Scoring&, Stream) { not_built(); }
const char* name_of(Instruction) { return ""; }
void chain_by(Instruction, const Bf16*, const Bf16*, float*, std::uint32_t, Stream) { not_built(); }

}  // namespace concertina::kernels::cuda
