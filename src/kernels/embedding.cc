#include "kernels/embedding.h"

#include "kernels/cpu/weights.h"

namespace concertina::kernels {

void embedding(std::span<const TokenId> tokens, const tensor::Weight& table, std::span<float> out,
               device::Stream& on) {
  const auto vocab_size = static_cast<std::size_t>(table.shape[0]),
             hidden_size = static_cast<std::size_t>(table.shape[1]);
  CHECK(out.size() >= tokens.size() * hidden_size);
  const cpu::Ops& ops = cpu::ops_of(on.instruction_set());
  cpu::with_elements(table, [&]<typename W>(const W* rows) {
    on.for_rows(tokens.size(), hidden_size, [&](std::size_t t) {
      const auto token = static_cast<std::size_t>(tokens[t]);
      CHECK(token < vocab_size, "token {} of a vocabulary of {}", tokens[t], vocab_size);
      ops.of<W>().widen(rows + token * hidden_size, hidden_size, out.data() + t * hidden_size);
    });
  });
}

}  // namespace concertina::kernels
