#include "kernels/linear.h"

#include <algorithm>
#include <array>

#include "kernels/cpu/weights.h"

namespace concertina::kernels {

namespace {

constexpr std::size_t kChunkRows = 64;  // addresses on the stack; weights are read once a chunk
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
void run(std::span<const float> x, const Projection& projection, std::size_t n_rows, std::size_t n_begin,
         std::size_t n_end) {
  const std::size_t n_out = n_out_of(projection),
                    n_in = static_cast<std::size_t>(projection.weight->shape[1]);
  cpu::with_elements(*projection.weight, [&]<typename W>(const W* w) {
    for (std::size_t begin = 0; begin < n_rows; begin += kChunkRows) {
      const std::size_t n = std::min(kChunkRows, n_rows - begin);
      std::array<const float*, kChunkRows> in;
      std::array<float*, kChunkRows> out;
      for (std::size_t i = 0; i < n; ++i) {
        in[i] = x.data() + (begin + i) * n_in;
        out[i] = projection.y.data() + (begin + i) * n_out;
      }
      cpu::current_ops().of<W>().linear(in.data(), n, w, n_in, n_begin, n_end, out.data());
    }
  });
}

}  // namespace

void linear(std::span<const float> x, std::span<const Projection> projections, std::size_t n_rows,
            ThreadPool& pool) {
  const auto n_in = static_cast<std::size_t>(projections.front().weight->shape[1]);
  std::size_t n_items = 0;
  for (const Projection& projection : projections) {
    check(x, projection, n_in, n_rows);
    n_items += n_items_of(projection);
  }
  pool.parallel_for(n_items, 1, [&](std::size_t begin, std::size_t end) {
    for (const Projection& projection : projections) {
      const std::size_t n = n_items_of(projection);
      if (begin < n && end > 0)
        run(x, projection, n_rows, begin * kItemOutputs,
            std::min(std::min(end, n) * kItemOutputs, n_out_of(projection)));
      begin = begin > n ? begin - n : 0;
      end = end > n ? end - n : 0;
    }
  });
}

void linear(std::span<const float> x, const tensor::Weight& weight, std::span<float> y, std::size_t n_rows,
            ThreadPool& pool) {
  const Projection one{&weight, y};
  linear(x, {&one, 1}, n_rows, pool);
}

}  // namespace concertina::kernels
