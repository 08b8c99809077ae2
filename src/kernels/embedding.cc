#include "kernels/embedding.h"

#include "kernels/cpu/weights.h"

namespace concertina::kernels {

void embedding(std::span<const TokenId> tokens, const tensor::Weight& table, std::span<float> out) {
  const auto vocab_size = static_cast<std::size_t>(table.shape[0]),
             hidden_size = static_cast<std::size_t>(table.shape[1]);
  CHECK(out.size() >= tokens.size() * hidden_size);
  cpu::with_elements(table, [&]<typename W>(const W* rows) {
    for (std::size_t t = 0; t < tokens.size(); ++t) {
      const auto token = static_cast<std::size_t>(tokens[t]);
      CHECK(token < vocab_size, "token {} of a vocabulary of {}", tokens[t], vocab_size);
      cpu::current_ops().of<W>().widen(rows + token * hidden_size, hidden_size, out.data() + t * hidden_size);
    }
  });
}

}  // namespace concertina::kernels
