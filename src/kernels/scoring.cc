#include "kernels/scoring.h"

#include "base/check.h"
#include "kernels/cpu/launch.h"

namespace concertina::kernels {

void score(std::span<const float> logits, std::size_t vocab_size, std::span<const ScoringRow> rows,
           SamplingScratch& scratch, std::size_t first_row, Scored& out, device::Stream& on) {
  CHECK(logits.size() >= rows.size() * vocab_size && out.logprobs.size() >= first_row + rows.size(),
        "{} rows of {}, from {} on", rows.size(), vocab_size, first_row);
  CHECK(scratch.of_thread.size() >= on.n_threads() && scratch.of_thread[0].masses.size() >= vocab_size,
        "room for {} threads and a vocabulary of {}", scratch.of_thread.size(),
        scratch.of_thread[0].masses.size());
  for (const ScoringRow& row : rows)
    CHECK(row.token >= 0 && static_cast<std::size_t>(row.token) < vocab_size && row.n_top <= kMaxLogprobs,
          "token {} of {}, {} logprobs of {}", row.token, vocab_size, row.n_top, kMaxLogprobs);
  cpu::score(logits, vocab_size, rows, scratch, first_row, out, on);
}

}  // namespace concertina::kernels
