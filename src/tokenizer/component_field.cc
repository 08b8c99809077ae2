#include "tokenizer/component_field.h"

#include "base/utf8.h"

namespace concertina::tokenizer {

namespace {

Status append_steps(const JsonField& component, std::string_view list_name, int depth,
                    std::vector<JsonField>& out) {
  constexpr int kMaxDepth = 8;
  ASSIGN_OR_RETURN(const auto type, type_of(component));
  if (type != "Sequence") {
    out.push_back(component);
    return {};
  }
  if (depth == kMaxDepth) return component.invalid("Sequences nested more than 8 deep");
  ASSIGN_OR_RETURN(const auto list, component.at(list_name));
  ASSIGN_OR_RETURN(const auto items, list.items());
  for (const JsonField& item : items) RETURN_IF_ERROR(append_steps(item, list_name, depth + 1, out));
  return {};
}

}  // namespace

Result<std::string_view> type_of(const JsonField& component) {
  ASSIGN_OR_RETURN(const auto type, component.at("type"));
  return type.string();
}

Result<std::vector<JsonField>> steps_of(const JsonField& component, std::string_view list_name) {
  std::vector<JsonField> steps;
  RETURN_IF_ERROR(append_steps(component, list_name, 0, steps));
  return steps;
}

tl::unexpected<Error> unsupported_type(const JsonField& component, std::string_view supported) {
  return component.at("type")->unsupported(supported);
}

Result<PatternField> read_pattern(const JsonField& component) {
  ASSIGN_OR_RETURN(const auto pattern, component.at("pattern"));
  const auto expression = pattern.find("Regex"), literal = pattern.find("String");
  if (!expression == !literal) return pattern.invalid("expected {\"Regex\": ...} or {\"String\": ...}");
  ASSIGN_OR_RETURN(const auto text, expression ? expression->string() : literal->string());
  return PatternField{expression ? PatternField::Kind::kExpression : PatternField::Kind::kLiteral, text};
}

Result<std::string_view> text_at(const JsonField& component, std::string_view name) {
  ASSIGN_OR_RETURN(const auto field, component.at(name));
  ASSIGN_OR_RETURN(const auto text, field.string());
  if (text.empty()) return field.invalid("expected a text, found an empty one");
  return text;
}

Result<std::string_view> character_at(const JsonField& component, std::string_view name) {
  ASSIGN_OR_RETURN(const auto text, text_at(component, name));
  if (next_utf8(text).length != text.size()) {
    return component.at(name)->invalid("expected one character, found " + component.at(name)->excerpt());
  }
  return text;
}

}  // namespace concertina::tokenizer
