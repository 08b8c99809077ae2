#pragma once

#include <string>
#include <string_view>
#include <variant>

#include "checkpoint/arena_layout.h"
#include "checkpoint/weight_source.h"

// How a checkpoint holds a weight of the model. This pair of files alone knows; who loads, verifies, counts
// or copies weights asks it.
namespace concertina::model {

// What becomes of the weights of products when they are loaded. kInt8: of attention, experts, dense MLPs and
// head; the router, norms and the embedding stay as they are.
enum class Quantization : std::uint8_t { kNone, kInt8 };
const char* name_of(Quantization quantization);  // "none", "int8"
Result<Quantization> parse_quantization(
    std::string_view name);  // an unknown name is an error that lists them

// What reads a weight: kProduct is what --quantization is about.
enum class Use : std::uint8_t { kProduct, kOther };

// The tensor is the weight.
struct Plain {};
// Another kind is a member here, with what its rows say (rows of a fused tensor, one expert of a stacked one,
// the tensor of a block's scales), and a branch in `tensor_of`, which says what must lie in the file, and in
// `load`, which says what the model takes of it.
using Storage = std::variant<Plain>;

struct StoredWeight {
  std::string name;     // of the tensor
  tensor::Shape shape;  // as the model uses the weight
  Use use = Use::kOther;
  Storage storage;
};

// The weight, quantized if that is for it. Errors are the source's: they name file, tensor, found and
// expected shape.
Result<tensor::Weight> load(const checkpoint::WeightSource& source, const StoredWeight& weight,
                            Quantization quantization);

// The same checks by names and headers alone: the tensor that holds the weight, and in which dtype it would
// be kept (kI8: quantized).
Result<checkpoint::ArenaTensor> tensor_of(const checkpoint::WeightSource& source, const StoredWeight& weight,
                                          Quantization quantization);

// That load() takes in memory of this process's own; 0 where it lies in a mapped file or in an arena.
Result<std::uint64_t> own_bytes(const checkpoint::WeightSource& source, const StoredWeight& weight,
                                Quantization quantization);

}  // namespace concertina::model
