#include "kernels/embedding.h"

#include "base/check.h"
#include "kernels/cpu/launch.h"

namespace concertina::kernels {

void embedding(std::span<const TokenId> tokens, const tensor::Weight& table, std::span<float> out,
               device::Stream& on) {
  const auto vocab_size = static_cast<std::size_t>(table.shape[0]),
             hidden_size = static_cast<std::size_t>(table.shape[1]);
  CHECK(out.size() >= tokens.size() * hidden_size);
  for (const TokenId token : tokens)
    CHECK(static_cast<std::size_t>(token) < vocab_size, "token {} of a vocabulary of {}", token, vocab_size);
  cpu::embedding(tokens, table, out, on);
}

}  // namespace concertina::kernels
