#include <algorithm>
#include <array>

#include "kernels/cpu/chunks.h"
#include "kernels/cpu/launch.h"
#include "kernels/cpu/weights.h"

namespace concertina::kernels::cpu {

namespace {

// Outputs of one item, of a group of n_rows: 128 KiB of BF16 weights with K = 1024 while reading them is the
// work, fewer where multiplying is, so that items cost about the same. With 64 always, 16 threads stood still
// for 10 to 17% of a prefill's time here: each waited for whoever had the fullest expert.
std::size_t item_outputs(std::size_t n_rows) { return n_rows <= 32 ? 64 : n_rows <= 64 ? 32 : 16; }
std::size_t n_items_of(const ExpertRows& group, std::size_t n_outputs) {
  const std::size_t item = item_outputs(group.in.size());
  return (n_outputs + item - 1) / item;
}

struct Shape {
  std::size_t n_hidden, n_intermediate, n_rows;
};

Shape shape_of(std::span<const ExpertRows> groups) {
  const tensor::Shape& gate = groups.front().weights->gate.shape;
  Shape shape{static_cast<std::size_t>(gate[1]), static_cast<std::size_t>(gate[0]), 0};
  for (const ExpertRows& group : groups) shape.n_rows += group.in.size();
  return shape;
}

// f(group, the group's first row among all rows, begin, end) for outputs [begin, end) of the groups that the
// items [begin, end) are.
template <typename F>
void for_items(std::span<const ExpertRows> groups, std::size_t n_outputs, device::Stream& on, const F& f) {
  std::size_t n_items = 0;
  for (const ExpertRows& group : groups) n_items += n_items_of(group, n_outputs);
  on.pool().parallel_for(n_items, 1, [&](std::size_t begin, std::size_t end) {
    std::size_t first = 0, row = 0;  // item and row of the group
    for (const ExpertRows& group : groups) {
      if (first >= end) break;
      const std::size_t n = n_items_of(group, n_outputs), width = item_outputs(group.in.size());
      if (begin < first + n) {
        f(group, row, (std::max(begin, first) - first) * width,
          std::min((std::min(end, first + n) - first) * width, n_outputs));
      }
      first += n;
      row += group.in.size();
    }
  });
}

// Rows [row, row + n) of all, which are rows [at, at + n) of a group: n is at most kMaxChunkRows.
struct Chunk {
  const ExpertRows& group;
  std::size_t row, at, n;
};

// How the two passes multiply. Each is split over groups and outputs; `down` needs all of `gate_up`.
template <typename W>
class FloatProducts {
 public:
  FloatProducts(const Shape& shape, float* scratch, device::InstructionSet set)
      : ops_(ops_of(set).of<W>().products), shape_(shape), scratch_(scratch) {}
  void prepare_gate_up(std::span<const ExpertRows>, device::Stream&) const {}
  void prepare_down(device::Stream&) const {}
  void gate_up(const Chunk& chunk, std::size_t begin, std::size_t end, float* const* out) const {
    const ExpertWeights& weights = *chunk.group.weights;
    ops_.gate_up(chunk.group.in.data() + chunk.at, chunk.n, elements(weights.gate), elements(weights.up),
                 shape_.n_hidden, begin, end, out);
  }
  void down(const Chunk& chunk, std::size_t begin, std::size_t end, float* const* out) const {
    const auto middle =
        addresses<const float>(scratch_ + chunk.row * shape_.n_intermediate, chunk.n, shape_.n_intermediate);
    ops_.linear(middle.data(), chunk.n, elements(chunk.group.weights->down), shape_.n_intermediate, begin,
                end, out);
  }

 private:
  static const W* elements(const tensor::Weight& weight) { return static_cast<const W*>(weight.data); }
  const ProductOps<float, W>& ops_;
  const Shape shape_;
  const float* const scratch_;  // [rows of all groups, n_intermediate]
};

// Rows are narrowed before each pass.
class NarrowedRows {
 public:
  void prepare_gate_up(std::span<const ExpertRows> groups, device::Stream& on) const {
    on.pool().parallel_for(groups.size(), 1, [&](std::size_t begin, std::size_t end) {
      std::size_t row = 0;
      for (std::size_t g = 0; g < end; row += groups[g++].in.size())
        if (g >= begin) narrow_rows(groups[g].in, shape_.n_hidden, form_, room_, row, on.instruction_set());
    });
  }
  void prepare_down(device::Stream& on) const {
    narrow_rows({scratch_, shape_.n_rows * shape_.n_intermediate}, shape_.n_intermediate, form_, room_, on);
  }

 protected:
  NarrowedRows(const Shape& shape, const float* scratch, const RowRoom& room, RowForm form)
      : shape_(shape), scratch_(scratch), room_(room), form_(form) {}
  template <typename X>
  std::array<const X*, kMaxChunkRows> rows_of(const Chunk& chunk, std::size_t n_in) const {
    return addresses(reinterpret_cast<const X*>(room_.bytes.data()) + chunk.row * n_in, chunk.n, n_in);
  }
  const Shape shape_;
  const float* const scratch_;  // [rows of all groups, n_intermediate]
  const RowRoom room_;
  const RowForm form_;
};

class Bf16Products : public NarrowedRows {
 public:
  Bf16Products(const Shape& shape, const float* scratch, const RowRoom& room, device::InstructionSet set)
      : NarrowedRows(shape, scratch, room, RowForm::kBfloat16), ops_(ops_of(set).bf16_rows) {}
  void gate_up(const Chunk& chunk, std::size_t begin, std::size_t end, float* const* out) const {
    const ExpertWeights& weights = *chunk.group.weights;
    ops_.gate_up(rows_of<Bf16>(chunk, shape_.n_hidden).data(), chunk.n, bf16_of(weights.gate),
                 bf16_of(weights.up), shape_.n_hidden, begin, end, out);
  }
  void down(const Chunk& chunk, std::size_t begin, std::size_t end, float* const* out) const {
    ops_.linear(rows_of<Bf16>(chunk, shape_.n_intermediate).data(), chunk.n,
                bf16_of(chunk.group.weights->down), shape_.n_intermediate, begin, end, out);
  }

 private:
  const ProductOps<Bf16, Bf16>& ops_;
};

class Int8Products : public NarrowedRows {
 public:
  Int8Products(const Shape& shape, const float* scratch, const RowRoom& room, device::InstructionSet set)
      : NarrowedRows(shape, scratch, room, RowForm::kInt8),
        ops_(int8_ops_of(set)),
        silu_multiply_(ops_of(set).silu_multiply) {}

  // A vector of outputs at a time, so that what `up` gives needs little room.
  void gate_up(const Chunk& chunk, std::size_t begin, std::size_t end, float* const* out) const {
    constexpr std::size_t kWidth = 16;
    float up_results[kMaxChunkRows][kWidth];
    std::array<float*, kMaxChunkRows> gates, ups;
    const auto& [gate, up, unused] = *chunk.group.weights;
    const auto row_of = [&](const tensor::Weight& weight, std::size_t n) {
      return int8_of(weight).data + n * shape_.n_hidden;
    };
    for (std::size_t n = begin; n < end; n += kWidth) {
      const std::size_t n_end = std::min(n + kWidth, end);
      for (std::size_t m = 0; m < chunk.n; ++m) gates[m] = out[m] + (n - begin), ups[m] = up_results[m];
      multiply(chunk, gate, shape_.n_hidden, n, n_end, row_of(up, n), gates.data());
      multiply(chunk, up, shape_.n_hidden, n, n_end, n_end < end ? row_of(gate, n_end) : nullptr, ups.data());
      for (std::size_t m = 0; m < chunk.n; ++m) silu_multiply_(gates[m], ups[m], gates[m], n_end - n);
    }
  }
  void down(const Chunk& chunk, std::size_t begin, std::size_t end, float* const* out) const {
    multiply(chunk, chunk.group.weights->down, shape_.n_intermediate, begin, end, nullptr, out);
  }

 private:
  void multiply(const Chunk& chunk, const tensor::Weight& weight, std::size_t n_in, std::size_t begin,
                std::size_t end, const std::int8_t* after, float* const* out) const {
    ops_.linear(rows_of<std::uint8_t>(chunk, n_in).data(), room_.scales.data() + chunk.row, chunk.n,
                int8_of(weight), n_in, begin, end, after, out);
  }
  const Int8Ops& ops_;
  void (*const silu_multiply_)(const float* gate, const float* up, float* out, std::size_t n);
};

template <typename Products>
void run(std::span<const ExpertRows> groups, const Shape& shape, float* scratch, device::Stream& on,
         const Products& products) {
  products.prepare_gate_up(groups, on);
  for_items(groups, shape.n_intermediate, on,
            [&](const ExpertRows& group, std::size_t row, std::size_t begin, std::size_t end) {
              for_chunks(group.in.size(), shape.n_hidden, [&](std::size_t at, std::size_t n) {
                float* const first = scratch + (row + at) * shape.n_intermediate + begin;
                products.gate_up({group, row + at, at, n}, begin, end,
                                 addresses(first, n, shape.n_intermediate).data());
              });
            });
  products.prepare_down(on);
  for_items(groups, shape.n_hidden, on,
            [&](const ExpertRows& group, std::size_t row, std::size_t begin, std::size_t end) {
              for_chunks(group.in.size(), shape.n_intermediate, [&](std::size_t at, std::size_t n) {
                std::array<float*, kMaxChunkRows> out;
                for (std::size_t i = 0; i < n; ++i) out[i] = group.out[at + i] + begin;
                products.down({group, row + at, at, n}, begin, end, out.data());
              });
            });
}

}  // namespace

void expert_mlp(std::span<const ExpertRows> groups, std::span<float> scratch, device::Stream& on,
                const RowRoom& room) {
  const Shape shape = shape_of(groups);
  const tensor::Weight& gate = groups.front().weights->gate;
  const device::InstructionSet set = on.instruction_set();
  const RowForm form = room.form_for(gate.dtype);
  if (form == RowForm::kInt8)
    return run(groups, shape, scratch.data(), on, Int8Products(shape, scratch.data(), room, set));
  if (form == RowForm::kBfloat16)
    return run(groups, shape, scratch.data(), on, Bf16Products(shape, scratch.data(), room, set));
  with_elements(gate, [&]<typename W>(const W*) {
    run(groups, shape, scratch.data(), on, FloatProducts<W>(shape, scratch.data(), set));
  });
}

}  // namespace concertina::kernels::cpu
