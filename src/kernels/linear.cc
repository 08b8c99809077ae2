#include "kernels/linear.h"

#include <algorithm>
#include <array>

#include "kernels/cpu/weights.h"

namespace concertina::kernels {

namespace {
constexpr std::size_t kChunkRows = 64;  // addresses on the stack; weights are read once a chunk
constexpr std::size_t kOutputGrain = 16;
}  // namespace

void linear(std::span<const float> x, const tensor::Weight& weight, std::span<float> y, std::size_t n_rows,
            ThreadPool& pool) {
  CHECK(weight.shape.size() == 2, "weight is {}", tensor::to_string(weight.shape));
  const auto n_out = static_cast<std::size_t>(weight.shape[0]),
             n_in = static_cast<std::size_t>(weight.shape[1]);
  CHECK(x.size() >= n_rows * n_in && y.size() >= n_rows * n_out, "{} rows, weight {}", n_rows,
        tensor::to_string(weight.shape));
  cpu::with_elements(weight, [&]<typename W>(const W* w) {
    const cpu::WeightOps<W>& ops = cpu::current_ops().of<W>();
    pool.parallel_for(n_out, kOutputGrain, [&](std::size_t n_begin, std::size_t n_end) {
      for (std::size_t begin = 0; begin < n_rows; begin += kChunkRows) {
        const std::size_t n = std::min(kChunkRows, n_rows - begin);
        std::array<const float*, kChunkRows> in;
        std::array<float*, kChunkRows> out;
        for (std::size_t i = 0; i < n; ++i) {
          in[i] = x.data() + (begin + i) * n_in;
          out[i] = y.data() + (begin + i) * n_out;
        }
        ops.linear(in.data(), n, w, n_in, n_begin, n_end, out.data());
      }
    });
  });
}

}  // namespace concertina::kernels
