#include "kernels/sampling.h"

#include "base/check.h"
#include "kernels/cpu/launch.h"

namespace concertina::kernels {

namespace {

void check(const SamplingRow& row, std::size_t vocab_size) {
  const request::Drawing& drawing = row.drawing;
  CHECK(drawing.allowed.empty() || drawing.allowed.size() >= (vocab_size + 63) / 64,
        "a mask of {} words for a vocabulary of {}", drawing.allowed.size(), vocab_size);
  CHECK(row.n_logprobs.value_or(0) <= kMaxLogprobs, "{} logprobs; at most {}", *row.n_logprobs, kMaxLogprobs);
  for (const request::LogitEdit& edit : drawing.edits)
    CHECK(edit.token >= 0 && static_cast<std::size_t>(edit.token) < vocab_size,
          "an edit of token {} in a vocabulary of {}", edit.token, vocab_size);
}

}  // namespace

void sample(std::span<const float> logits, std::size_t vocab_size, std::span<const SamplingRow> rows,
            SamplingScratch& scratch, Sampled& out, device::Stream& on) {
  CHECK(logits.size() >= rows.size() * vocab_size && out.tokens.size() >= rows.size(), "{} rows of {}",
        rows.size(), vocab_size);
  CHECK(scratch.of_thread.size() >= on.n_threads() && scratch.of_thread[0].order.size() >= vocab_size,
        "room for {} threads and a vocabulary of {}", scratch.of_thread.size(),
        scratch.of_thread[0].order.size());
  for (const SamplingRow& row : rows) check(row, vocab_size);
  cpu::sample(logits, vocab_size, rows, scratch, out, on);
}

}  // namespace concertina::kernels
