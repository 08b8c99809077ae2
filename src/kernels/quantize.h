#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "device/stream.h"
#include "tensor/tensor.h"

namespace concertina::kernels {

enum class KernelError { kUnknownActivationType };

// Weights per row, symmetric: value = scale * integer, |integer| <= 127. `weight` is F32 or BF16, [n_out,
// n_in]; the result is I8 and owns its memory. Any thread.
tensor::Weight quantize_int8(const tensor::Weight& weight);

// How products with BF16 weights take their rows. kBfloat16: rounded, and multiplied two at a time where the
// processor can (vdpbf16ps; Zen 4: twice the rate of float32), with the same bits elsewhere in the same
// instruction set. Sums are float32 in either.
enum class ActivationType : std::uint8_t { kFloat32, kBfloat16 };
const char* name_of(ActivationType type);  // "float32", "bfloat16"
Result<ActivationType> parse_activation_type(
    std::string_view name);  // an unknown name is an error that lists them
// What a table says of this processor with these kernels. For who decides for all ranks: not one rank by
// itself.
ActivationType faster_activation_type(device::InstructionSet set);

// How the rows of a product are narrowed first, if at all.
enum class RowForm : std::uint8_t { kFloat32, kBfloat16, kInt8 };

// Room for narrowed rows, and which products need it: those with I8 weights always, with BF16 weights if
// activations are kBfloat16. The default has none: float32 it is. A narrowed row is a function of the row
// alone.
struct RowRoom {
  std::span<std::uint8_t> bytes;  // [n_rows, width, kNarrowedBytes]
  std::span<float> scales;        // [n_rows]
  ActivationType activations = ActivationType::kFloat32;

  RowForm form_for(tensor::DType weight) const;
};
inline constexpr std::size_t kNarrowedBytes = 2;  // of a value, at most

// The memory of a room, taken once.
class RowBuffer {
 public:
  RowBuffer(std::size_t n_rows, std::size_t width, ActivationType activations);
  RowRoom room() { return {bytes_, scales_, activations_}; }

 private:
  std::vector<std::uint8_t> bytes_;  // [n_rows, width, kNarrowedBytes]
  std::vector<float> scales_;        // [n_rows]
  ActivationType activations_;
};

}  // namespace concertina::kernels
