#include "model/storage.h"

#include <fmt/format.h>

#include "kernels/quantize.h"
#include "model/error.h"

namespace concertina::model {

namespace {

using checkpoint::WeightSource;
using tensor::DType;

bool becomes_int8(Quantization quantization, Use use) {
  return quantization == Quantization::kInt8 && use == Use::kProduct;
}

}  // namespace

const char* name_of(Quantization quantization) {
  return quantization == Quantization::kInt8 ? "int8" : "none";
}

Result<Quantization> parse_quantization(std::string_view name) {
  for (const Quantization known : {Quantization::kNone, Quantization::kInt8}) {
    if (name == name_of(known)) return known;
  }
  return fail(ModelError::kUnsupported,
              fmt::format("unknown quantization \"{}\": must be none or int8", name));
}

Result<tensor::Weight> load(const WeightSource& source, const StoredWeight& weight,
                            Quantization quantization) {
  if (!becomes_int8(quantization, weight.use)) return source.load(weight.name, weight.shape);
  if (std::optional<tensor::Weight> ready = source.quantized(weight.name)) return std::move(*ready);
  ASSIGN_OR_RETURN(const tensor::Weight wide, source.load(weight.name, weight.shape));
  return kernels::quantize_int8(wide);
}

Result<checkpoint::ArenaTensor> tensor_of(const WeightSource& source, const StoredWeight& weight,
                                          Quantization quantization) {
  ASSIGN_OR_RETURN(const DType dtype, source.verify(weight.name, weight.shape));
  return checkpoint::ArenaTensor{weight.name, weight.shape, dtype,
                                 becomes_int8(quantization, weight.use) ? DType::kI8 : dtype};
}

Result<std::uint64_t> own_bytes(const WeightSource& source, const StoredWeight& weight,
                                Quantization quantization) {
  ASSIGN_OR_RETURN(const checkpoint::ArenaTensor tensor, tensor_of(source, weight, quantization));
  const auto n = static_cast<std::uint64_t>(tensor::count_of(weight.shape));
  if (tensor.dtype == DType::kI8)  // with its row's scale and sum
    return n + 8 * static_cast<std::uint64_t>(weight.shape[0]);
  return source.is_shared(weight.name) ? 0 : n * tensor::element_bytes(tensor.dtype);
}

}  // namespace concertina::model
