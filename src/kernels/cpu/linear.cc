#include <algorithm>

#include "kernels/cpu/chunks.h"
#include "kernels/cpu/launch.h"
#include "kernels/cpu/weights.h"

namespace concertina::kernels::cpu {

namespace {

constexpr std::size_t kItemOutputs = 16;

// With many threads the outputs alone are too few pieces: of 64 (1024 outputs) a thread of 16 has four, and
// all wait for whoever took the last (12% of a prefill's time here; 6 to 7% with rows split too). Blocks of
// 64 rows or more: chosen, not measured against others.
constexpr std::size_t kFewestBlockRows = 64;

std::size_t block_rows_for(std::size_t n_rows, std::size_t n_items, const device::Stream& on) {
  const std::size_t wanted = (on.n_threads() * ThreadPool::kPiecesPerThread + n_items - 1) / n_items;
  const std::size_t n_blocks = std::clamp<std::size_t>(n_rows / kFewestBlockRows, 1, wanted);
  return std::max<std::size_t>(1, (n_rows + n_blocks - 1) / n_blocks);
}

std::size_t n_out_of(const Projection& projection) {
  return static_cast<std::size_t>(projection.weight->shape[0]);
}
std::size_t n_items_of(const Projection& projection) {
  return (n_out_of(projection) + kItemOutputs - 1) / kItemOutputs;
}

struct Range {
  std::size_t begin, end;
};

// These outputs of these rows.
void run(std::span<const float> x, const Projection& projection, Range rows, Range outputs,
         const RowRoom& room, device::InstructionSet set) {
  const tensor::Weight& weight = *projection.weight;
  const std::size_t n_out = n_out_of(projection), n_in = static_cast<std::size_t>(weight.shape[1]);
  for_chunks(rows.end - rows.begin, n_in, [&](std::size_t at, std::size_t n) {
    const std::size_t row = rows.begin + at;
    const auto out = addresses(projection.y.data() + row * n_out + outputs.begin, n, n_out);
    const RowForm form = room.form_for(weight.dtype);
    if (form == RowForm::kInt8) {
      const auto in = addresses<const std::uint8_t>(room.bytes.data() + row * n_in, n, n_in);
      return int8_ops_of(set).linear(in.data(), room.scales.data() + row, n, int8_of(weight), n_in,
                                     outputs.begin, outputs.end, nullptr, out.data());
    }
    if (form == RowForm::kBfloat16) {
      const auto in = addresses(reinterpret_cast<const Bf16*>(room.bytes.data()) + row * n_in, n, n_in);
      return ops_of(set).bf16_rows.linear(in.data(), n, bf16_of(weight), n_in, outputs.begin, outputs.end,
                                          out.data());
    }
    const auto in = addresses(x.data() + row * n_in, n, n_in);
    with_elements(weight, [&]<typename W>(const W* w) {
      ops_of(set).of<W>().products.linear(in.data(), n, w, n_in, outputs.begin, outputs.end, out.data());
    });
  });
}

// f(projection, outputs) for the items [begin, end) of all projections, one after the other.
template <typename F>
void for_outputs(std::span<const Projection> projections, std::size_t begin, std::size_t end, const F& f) {
  for (const Projection& projection : projections) {
    const std::size_t n = n_items_of(projection);
    if (begin < n && end > 0)
      f(projection, {begin * kItemOutputs, std::min(std::min(end, n) * kItemOutputs, n_out_of(projection))});
    begin = begin > n ? begin - n : 0;
    end = end > n ? end - n : 0;
  }
}

}  // namespace

void linear(std::span<const float> x, std::span<const Projection> projections, std::size_t n_rows,
            device::Stream& on, const RowRoom& room) {
  const auto n_in = static_cast<std::size_t>(projections.front().weight->shape[1]);
  std::size_t n_items = 0;
  for (const Projection& projection : projections) n_items += n_items_of(projection);
  narrow_rows(x.first(n_rows * n_in), n_in, room.form_for(projections.front().weight->dtype), room, on);
  const std::size_t block_rows = block_rows_for(n_rows, n_items, on),
                    n_blocks = (n_rows + block_rows - 1) / block_rows;
  on.pool().parallel_for(n_blocks * n_items, 1, [&](std::size_t begin, std::size_t end) {
    for (std::size_t item = begin; item < end;) {
      const std::size_t block = item / n_items, first = block * n_items,
                        block_end = std::min(end, first + n_items);
      const Range rows{block * block_rows, std::min((block + 1) * block_rows, n_rows)};
      for_outputs(projections, item - first, block_end - first,
                  [&](const Projection& projection, Range outputs) {
                    run(x, projection, rows, outputs, room, on.instruction_set());
                  });
      item = block_end;
    }
  });
}

}  // namespace concertina::kernels::cpu
