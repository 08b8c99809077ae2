#pragma once

#include <cstdint>
#include <optional>

#include "base/result.h"
#include "checkpoint/arena_layout.h"
#include "checkpoint/weight_source.h"
#include "tensor/tensor.h"

namespace concertina::checkpoint {

// Index of the first of n elements that is infinite or not a number; none if all are finite. `dtype`: kF32 or
// kBF16. Made to run over data that a copy has just brought into the cache: it looks at exponents alone, many
// at a time.
std::optional<std::uint64_t> first_not_finite(const void* data, std::uint64_t n, tensor::DType dtype);

// The same for elements [first, first + n) of `tensor`, which `data` holds: an error names the tensor, its
// file, the element and its shape.
Status check_finite(const WeightSource& source, const ArenaTensor& tensor, std::uint64_t first,
                    std::uint64_t n, const void* data);
// And for all of it, read from `source`.
Status check_finite(const WeightSource& source, const ArenaTensor& tensor);

}  // namespace concertina::checkpoint
