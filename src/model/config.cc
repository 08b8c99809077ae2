#include "model/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "checkpoint/config_files.h"
#include "model/error.h"
#include "model/families/family.h"
#include "model/field_reader.h"

namespace concertina::model {

namespace {

using nlohmann::json;

std::string supported_architectures() {
  std::vector<std::string> names;
  for (const Family* family : families()) names.emplace_back(family->architecture);
  return fmt::format("{}", fmt::join(names, ", "));
}

Result<const Family*> find_family(const json& config) {
  const auto names = config.find("architectures");
  if (names == config.end() || !names->is_array() || names->empty()) {
    return fail(ModelError::kBadField, fmt::format("architectures: missing, expected a list with one of {}",
                                                   supported_architectures()));
  }
  for (const json& name : *names) {
    for (const Family* family : families()) {
      if (name == family->architecture) return family;
    }
  }
  return fail(ModelError::kUnknownArchitecture, fmt::format("architectures: found {}, supported: {}",
                                                            names->dump(), supported_architectures()));
}

void number_moe_layers(ModelConfig& config) {
  for (std::size_t layer = 0; layer < config.layers.size(); ++layer) {
    auto* const moe = std::get_if<MoeSpec>(&config.layers[layer].mlp);
    if (moe == nullptr) continue;
    moe->id = MoeLayerId(static_cast<std::uint32_t>(config.moe_layers.size()));
    config.moe_layers.push_back(layer);
  }
}

Result<ModelConfig> parse(const json& file) {
  ModelConfig config;
  ASSIGN_OR_RETURN(config.family, find_family(file));
  FieldReader fields(file);
  config.family->read(fields, config);
  RETURN_IF_ERROR(fields.status());
  number_moe_layers(config);
  return config;
}

void grow(LargestLayer& largest, const GqaSpec& spec) {
  largest.q_width = std::max(largest.q_width, spec.q_width());
  largest.kv_width = std::max(largest.kv_width, spec.kv_width());
  largest.head_dim = std::max(largest.head_dim, spec.head_dim);
}

}  // namespace

LargestLayer largest_layer(const ModelConfig& config) {
  LargestLayer largest;
  for (const LayerSpec& layer : config.layers) {
    std::visit([&](const auto& attention) { grow(largest, attention); }, layer.attention);
    if (const DenseSpec* dense = layer.dense())
      largest.intermediate_size = std::max(largest.intermediate_size, dense->intermediate_size);
  }
  return largest;
}

Result<ModelConfig> parse_config(const json& config, const std::string& file_name) {
  auto parsed = parse(config);
  if (!parsed) return fail(parsed.error().with_context(file_name));
  return parsed;
}

Result<ModelConfig> read_config(const std::filesystem::path& folder) {
  ASSIGN_OR_RETURN(const json config, checkpoint::read_json(folder / "config.json"));
  return parse_config(config, (folder / "config.json").string());
}

}  // namespace concertina::model
