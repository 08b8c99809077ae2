#include "checkpoint/weight_source.h"

#include <cstring>

#include "base/check.h"

namespace concertina::checkpoint {

Status WeightSource::read(const std::string& name, const tensor::Shape& shape, std::uint64_t first,
                          std::uint64_t n, void* out) const {
  ASSIGN_OR_RETURN(const tensor::Weight whole, load(name, shape));
  const std::size_t element = element_bytes(whole.dtype);
  CHECK((first + n) * element <= whole.bytes(), "{}: elements [{}, {})", name, first, first + n);
  std::memcpy(out, static_cast<const std::byte*>(whole.data) + first * element, n * element);
  return {};
}

}  // namespace concertina::checkpoint
