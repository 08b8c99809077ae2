#include <algorithm>
#include <nlohmann/json.hpp>

#include "checkpoint/config_files.h"
#include "model/config.h"
#include "model/field_reader.h"

namespace concertina::model {

using nlohmann::json;

namespace {

// Fields that shape the output elsewhere, with the value that has no effect.
struct NeutralField {
  const char* key;
  double neutral;
};
constexpr NeutralField kNotApplied[] = {
    {"typical_p", 1},      {"no_repeat_ngram_size", 0}, {"encoder_repetition_penalty", 1},
    {"epsilon_cutoff", 0}, {"eta_cutoff", 0},           {"length_penalty", 1},
    {"num_beams", 1},      {"penalty_alpha", 0}};

}  // namespace

Result<GenerationDefaults> parse_generation_defaults(const json& file, const std::string& file_name,
                                                     const ModelConfig& config) {
  GenerationDefaults defaults;
  FieldReader fields(file);
  defaults.sampling.temperature = static_cast<float>(fields.number_from("temperature", 0, 1e6, 1));
  defaults.sampling.top_k = static_cast<std::int32_t>(
      std::max<std::int64_t>(fields.integer("top_k", -1, 1 << 24, 0), 0));  // -1: off
  defaults.sampling.top_p = static_cast<float>(fields.number("top_p", 0, 1, 1));
  defaults.sampling.min_p = static_cast<float>(fields.number_from("min_p", 0, 1, 0));
  // From 0.001: logits are divided by it.
  defaults.sampling.repetition_penalty =
      static_cast<float>(fields.number("repetition_penalty", 1e-3, 1e3, 1));
  if (!fields.flag("do_sample", true)) defaults.sampling.temperature = 0;
  defaults.eos_token_ids =
      fields.has("eos_token_id") ? fields.tokens("eos_token_id", config.vocab_size) : config.eos_token_ids;
  for (const auto& [key, neutral] : kNotApplied) {
    if (fields.has(key) && file[key] != neutral) defaults.ignored.emplace_back(key);
  }
  if (const Status status = fields.status(); !status) return fail(status.error().with_context(file_name));
  return defaults;
}

Result<GenerationDefaults> read_generation_defaults(const std::filesystem::path& folder,
                                                    const ModelConfig& config) {
  const auto path = folder / "generation_config.json";
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored))
    return GenerationDefaults{.eos_token_ids = config.eos_token_ids};
  ASSIGN_OR_RETURN(const json file, checkpoint::read_json(path));
  return parse_generation_defaults(file, path.string(), config);
}

}  // namespace concertina::model
