#include "kernels/quantize.h"

#include <memory>
#include <numeric>
#include <vector>

#include "kernels/cpu/int8.h"
#include "kernels/cpu/weights.h"

namespace concertina::kernels {

namespace {
struct Int8Memory {
  std::vector<std::int8_t> data;
  std::vector<float> scales;
  std::vector<std::int32_t> sums;
};
}  // namespace

tensor::Weight quantize_int8(const tensor::Weight& weight) {
  CHECK(weight.shape.size() == 2, "weight is {}", tensor::to_string(weight.shape));
  const auto n_out = static_cast<std::size_t>(weight.shape[0]),
             n_in = static_cast<std::size_t>(weight.shape[1]);
  auto memory = std::make_shared<Int8Memory>();
  memory->data.resize(n_out * n_in);
  memory->scales.resize(n_out);
  memory->sums.resize(n_out);
  std::vector<float> row(n_in);
  std::vector<std::uint8_t> bytes(n_in);
  cpu::with_elements(weight, [&]<typename W>(const W* w) {
    for (std::size_t n = 0; n < n_out; ++n) {
      cpu::current_ops().of<W>().widen(w + n * n_in, n_in, row.data());
      memory->scales[n] = cpu::current_int8_ops().quantize(row.data(), n_in, bytes.data());
      std::int8_t* const to = memory->data.data() + n * n_in;
      for (std::size_t k = 0; k < n_in; ++k) to[k] = static_cast<std::int8_t>(bytes[k] - 128);
      memory->sums[n] = std::accumulate(to, to + n_in, std::int32_t{0});
    }
  });
  return {.dtype = tensor::DType::kI8,
          .shape = weight.shape,
          .data = memory->data.data(),
          .owner = memory,
          .scales = memory->scales.data(),
          .sums = memory->sums.data()};
}

void quantize_rows(std::span<const float* const> rows, std::size_t width, const Int8Room& room,
                   std::size_t first_row) {
  CHECK(
      room.bytes.size() >= (first_row + rows.size()) * width && room.scales.size() >= first_row + rows.size(),
      "int8 products of {} rows of {} need room", first_row + rows.size(), width);
  for (std::size_t m = 0; m < rows.size(); ++m)
    room.scales[first_row + m] =
        cpu::current_int8_ops().quantize(rows[m], width, room.bytes.data() + (first_row + m) * width);
}

void quantize_rows(std::span<const float> x, std::size_t width, const Int8Room& room, ThreadPool& pool) {
  pool.parallel_for(x.size() / width, 4, [&](std::size_t begin, std::size_t end) {
    for (std::size_t m = begin; m < end; ++m) {
      const float* const row = x.data() + m * width;
      quantize_rows({&row, 1}, width, room, m);
    }
  });
}

}  // namespace concertina::kernels
