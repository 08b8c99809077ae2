#include "kernels/cpu/launch.h"
#include "kernels/cpu/weights.h"

namespace concertina::kernels::cpu {

void embedding(std::span<const TokenId> tokens, const tensor::Weight& table, std::span<float> out,
               device::Stream& on) {
  const auto hidden_size = static_cast<std::size_t>(table.shape[1]);
  const Ops& ops = ops_of(on.instruction_set());
  with_elements(table, [&]<typename W>(const W* rows) {
    on.for_rows(tokens.size(), hidden_size, [&](std::size_t t) {
      const auto token = static_cast<std::size_t>(tokens[t]);
      ops.of<W>().widen(rows + token * hidden_size, hidden_size, out.data() + t * hidden_size);
    });
  });
}

}  // namespace concertina::kernels::cpu
