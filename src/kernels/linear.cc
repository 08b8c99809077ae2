#include "kernels/linear.h"

#include "base/check.h"
#include "kernels/cpu/launch.h"

namespace concertina::kernels {

namespace {

void check(std::span<const float> x, const Projection& projection, std::size_t n_in, std::size_t n_rows) {
  const tensor::Shape& shape = projection.weight->shape;
  CHECK(shape.size() == 2 && static_cast<std::size_t>(shape[1]) == n_in, "weight is {}, rows have {}",
        tensor::to_string(shape), n_in);
  CHECK(x.size() >= n_rows * n_in && projection.y.size() >= n_rows * static_cast<std::size_t>(shape[0]),
        "{} rows, weight {}", n_rows, tensor::to_string(shape));
}

}  // namespace

void linear(std::span<const float> x, std::span<const Projection> projections, std::size_t n_rows,
            device::Stream& on, const RowRoom& room) {
  const auto n_in = static_cast<std::size_t>(projections.front().weight->shape[1]);
  for (const Projection& projection : projections) {
    check(x, projection, n_in, n_rows);
    CHECK(projection.weight->dtype == projections.front().weight->dtype);
  }
  cpu::linear(x, projections, n_rows, on, room);
}

void linear(std::span<const float> x, const tensor::Weight& weight, std::span<float> y, std::size_t n_rows,
            device::Stream& on, const RowRoom& room) {
  const Projection one{&weight, y};
  linear(x, {&one, 1}, n_rows, on, room);
}

}  // namespace concertina::kernels
