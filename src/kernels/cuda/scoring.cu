// One block a row.
#include <cuda_runtime.h>

#include "kernels/cuda/vocabulary.cuh"

namespace concertina::kernels::cuda {

namespace {

__global__ void __launch_bounds__(kThreads) score_kernel(Scoring p) {
  __shared__ Room room;
  const ScoreRow row = p.rows[blockIdx.x];
  const float* const logits = p.logits + static_cast<size_t>(blockIdx.x) * p.vocab_size;
  TopLogprob* const top = p.top + static_cast<size_t>(blockIdx.x) * kMaxTopLogprobs;
  const float highest = highest_logit(logits, p.vocab_size, room).logit;
  if (!isfinite(highest)) {
    if (threadIdx.x < row.n_top) top[threadIdx.x] = {-1, NAN};
    if (threadIdx.x == 0) p.scores[blockIdx.x] = {NAN, 0};
    return;
  }
  const Logprobs logprobs = logprobs_of(logits, p.vocab_size, highest, room);
  const float own = logits[row.token];
  Mass n_as_high = 0;
  for (uint32_t t = threadIdx.x; t < p.vocab_size; t += kThreads) n_as_high += logits[t] >= own;
  const Mass rank = sum_of_block(n_as_high, room);
  if (threadIdx.x == 0) p.scores[blockIdx.x] = {logprobs.of(own), static_cast<uint32_t>(rank)};
  write_top(logits, p.vocab_size, row.n_top, logprobs, room, top);
}

}  // namespace

void score(const Scoring& scoring, Stream on) {
  if (scoring.n_rows > 0) score_kernel<<<scoring.n_rows, kThreads, 0, on>>>(scoring);
}

}  // namespace concertina::kernels::cuda
