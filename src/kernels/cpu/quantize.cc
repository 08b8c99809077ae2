#include <memory>
#include <numeric>
#include <vector>

#include "kernels/cpu/int8.h"
#include "kernels/cpu/launch.h"
#include "kernels/cpu/weights.h"

namespace concertina::kernels::cpu {

namespace {
struct Int8Memory {
  std::vector<std::int8_t> data;
  std::vector<float> scales;
  std::vector<std::int32_t> sums;
};
}  // namespace

tensor::Weight quantize_int8(const tensor::Weight& weight) {
  const auto n_out = static_cast<std::size_t>(weight.shape[0]),
             n_in = static_cast<std::size_t>(weight.shape[1]);
  auto memory = std::make_shared<Int8Memory>();
  memory->data.resize(n_out * n_in);
  memory->scales.resize(n_out);
  memory->sums.resize(n_out);
  std::vector<float> row(n_in);
  std::vector<std::uint8_t> bytes(n_in);
  // Widening is exact and int8 the same bits with every set.
  const device::InstructionSet set = device::best_instruction_set();
  with_elements(weight, [&]<typename W>(const W* w) {
    for (std::size_t n = 0; n < n_out; ++n) {
      ops_of(set).of<W>().widen(w + n * n_in, n_in, row.data());
      memory->scales[n] = int8_ops_of(set).quantize(row.data(), n_in, bytes.data());
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

void narrow_rows(std::span<const float* const> rows, std::size_t width, RowForm form, const RowRoom& room,
                 std::size_t first_row, device::InstructionSet set) {
  if (form == RowForm::kFloat32) return;
  const std::size_t n_rows = first_row + rows.size(), element_bytes = form == RowForm::kInt8 ? 1 : 2;
  CHECK(room.bytes.size() >= n_rows * width * element_bytes && room.scales.size() >= n_rows,
        "narrowed rows need room: {} of {}", n_rows, width);
  for (std::size_t m = 0; m < rows.size(); ++m) {
    std::uint8_t* const to = room.bytes.data() + (first_row + m) * width * element_bytes;
    if (form == RowForm::kInt8) {
      room.scales[first_row + m] = int8_ops_of(set).quantize(rows[m], width, to);
    } else {
      ops_of(set).narrow(rows[m], width, reinterpret_cast<Bf16*>(to));
    }
  }
}

void narrow_rows(std::span<const float> x, std::size_t width, RowForm form, const RowRoom& room,
                 device::Stream& on) {
  if (form == RowForm::kFloat32) return;
  on.pool().parallel_for(x.size() / width, 4, [&](std::size_t begin, std::size_t end) {
    for (std::size_t m = begin; m < end; ++m) {
      const float* const row = x.data() + m * width;
      narrow_rows({&row, 1}, width, form, room, m, on.instruction_set());
    }
  });
}

}  // namespace concertina::kernels::cpu
