#pragma once

#include <string_view>
#include <vector>

#include "tokenizer/json_field.h"

// A component of tokenizer.json ("normalizer", "decoder" ...): an object with a "type".
namespace concertina::tokenizer {

Result<std::string_view> type_of(const JsonField& component);

// The steps of a component: itself, or for a Sequence, those listed under `list_name`, to any reasonable
// depth.
Result<std::vector<JsonField>> steps_of(const JsonField& component, std::string_view list_name);

tl::unexpected<Error> unsupported_type(const JsonField& component, std::string_view supported);

// {"Regex": ...} or {"String": ...}: exactly one of the two.
struct PatternField {
  enum class Kind { kExpression, kLiteral } kind;
  std::string_view text;
};
Result<PatternField> read_pattern(const JsonField& component);  // its "pattern"

// The string `name`, which is not empty.
Result<std::string_view> text_at(const JsonField& component, std::string_view name);
// The string `name`, of one character.
Result<std::string_view> character_at(const JsonField& component, std::string_view name);

}  // namespace concertina::tokenizer
