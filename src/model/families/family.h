#pragma once

#include <span>
#include <string>

#include "model/config.h"
#include "model/field_reader.h"
#include "model/storage.h"

// A family of models: how its config.json becomes layers, and where its checkpoints keep their weights. One
// file each in this folder, and its name in the list of families.cc.
namespace concertina::model {

// What a weight is to the pass. The visitor of weights says which roles a layer has and of what shape they
// are, from its LayerSpec: a family says names, and never a shape that the spec implies.
enum class Role : std::uint8_t {
  kEmbedding,
  kFinalNorm,
  kHead,
  kInputNorm,
  kPostAttentionNorm,
  kQ,
  kK,
  kV,
  kO,
  kQNorm,
  kKNorm,
  kRouter,
  kDenseGate,
  kDenseUp,
  kDenseDown,
  kExpertGate,
  kExpertUp,
  kExpertDown,
};

// Where a weight lies: {layer} and {expert} of `name` are their numbers in the checkpoint.
struct TensorRow {
  Role role{};
  const char* name = nullptr;
  Storage storage = Plain{};
};

struct Family {
  const char* architecture = nullptr;  // as config.json's "architectures" names it
  // Rows that differ from those of families/common.cc, which name weights as most checkpoints do.
  std::span<const TensorRow> tensors;
  // Fills in all of ModelConfig but `family`, `moe_layers` and the MoE layers' numbers. What the family's own
  // software assumes where config.json says nothing is said here. Errors are kept by `fields`.
  void (*read)(FieldReader& fields, ModelConfig& config) = nullptr;
};

// All of them; the first words of an error about an unknown architecture.
std::span<const Family* const> families();

Use use_of(Role role);

// The family's row, else the common one. There is one for every role.
const TensorRow& row_of(const Family& family, Role role);

}  // namespace concertina::model
