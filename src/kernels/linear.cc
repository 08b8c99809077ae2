#include "kernels/linear.h"

#include <algorithm>

#include "kernels/cpu/chunks.h"
#include "kernels/cpu/weights.h"

namespace concertina::kernels {

namespace {

constexpr std::size_t kItemOutputs = 16;

std::size_t n_out_of(const Projection& projection) {
  return static_cast<std::size_t>(projection.weight->shape[0]);
}
std::size_t n_items_of(const Projection& projection) {
  return (n_out_of(projection) + kItemOutputs - 1) / kItemOutputs;
}

void check(std::span<const float> x, const Projection& projection, std::size_t n_in, std::size_t n_rows) {
  const tensor::Shape& shape = projection.weight->shape;
  CHECK(shape.size() == 2 && static_cast<std::size_t>(shape[1]) == n_in, "weight is {}, rows have {}",
        tensor::to_string(shape), n_in);
  CHECK(x.size() >= n_rows * n_in && projection.y.size() >= n_rows * n_out_of(projection),
        "{} rows, weight {}", n_rows, tensor::to_string(shape));
}

// Outputs [n_begin, n_end) of all rows.
void run(std::span<const float> x, const Projection& projection, std::size_t n_rows, const RowRoom& room,
         device::InstructionSet set, std::size_t n_begin, std::size_t n_end) {
  const tensor::Weight& weight = *projection.weight;
  const std::size_t n_out = n_out_of(projection), n_in = static_cast<std::size_t>(weight.shape[1]);
  cpu::for_chunks(n_rows, n_in, [&](std::size_t begin, std::size_t n) {
    const auto out = cpu::addresses(projection.y.data() + begin * n_out + n_begin, n, n_out);
    const RowForm form = room.form_for(weight.dtype);
    if (form == RowForm::kInt8) {
      const auto in = cpu::addresses<const std::uint8_t>(room.bytes.data() + begin * n_in, n, n_in);
      return cpu::int8_ops_of(set).linear(in.data(), room.scales.data() + begin, n, cpu::int8_of(weight),
                                          n_in, n_begin, n_end, nullptr, out.data());
    }
    if (form == RowForm::kBfloat16) {
      const auto in =
          cpu::addresses(reinterpret_cast<const cpu::Bf16*>(room.bytes.data()) + begin * n_in, n, n_in);
      return cpu::ops_of(set).bf16_rows.linear(in.data(), n, cpu::bf16_of(weight), n_in, n_begin, n_end,
                                               out.data());
    }
    const auto in = cpu::addresses(x.data() + begin * n_in, n, n_in);
    cpu::with_elements(weight, [&]<typename W>(const W* w) {
      cpu::ops_of(set).of<W>().products.linear(in.data(), n, w, n_in, n_begin, n_end, out.data());
    });
  });
}

}  // namespace

void linear(std::span<const float> x, std::span<const Projection> projections, std::size_t n_rows,
            device::Stream& on, const RowRoom& room) {
  const auto n_in = static_cast<std::size_t>(projections.front().weight->shape[1]);
  std::size_t n_items = 0;
  for (const Projection& projection : projections) {
    check(x, projection, n_in, n_rows);
    CHECK(projection.weight->dtype == projections.front().weight->dtype);
    n_items += n_items_of(projection);
  }
  narrow_rows(x.first(n_rows * n_in), n_in, room.form_for(projections.front().weight->dtype), room, on);
  on.pool().parallel_for(n_items, 1, [&](std::size_t begin, std::size_t end) {
    for (const Projection& projection : projections) {
      const std::size_t n = n_items_of(projection);
      if (begin < n && end > 0) {
        run(x, projection, n_rows, room, on.instruction_set(), begin * kItemOutputs,
            std::min(std::min(end, n) * kItemOutputs, n_out_of(projection)));
      }
      begin = begin > n ? begin - n : 0;
      end = end > n ? end - n : 0;
    }
  });
}

void linear(std::span<const float> x, const tensor::Weight& weight, std::span<float> y, std::size_t n_rows,
            device::Stream& on, const RowRoom& room) {
  const Projection one{&weight, y};
  linear(x, {&one, 1}, n_rows, on, room);
}

}  // namespace concertina::kernels
