#include "grammar/schema_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "grammar/limits.h"
#include "grammar/schema_types.h"

namespace concertina::grammar {
namespace {

bool has(const Json& schema, const char* keyword) { return schema.contains(keyword); }

// The types that a schema allows; integers are numbers.
std::set<std::string> types_of(const Json& schema) {
  if (!has(schema, "type")) return {"null", "boolean", "number", "string", "array", "object"};
  const Json& type = schema["type"];
  std::set<std::string> types;
  if (type.is_string())
    types.insert(type.get<std::string>());
  else
    for (const auto& one : type) types.insert(one.get<std::string>());
  if (types.contains("number")) types.erase("integer");
  return types;
}

bool is_integral(const Json& value) {
  if (!value.is_number_float()) return value.is_number();
  const double number = value.get<double>();
  return number == static_cast<double>(static_cast<std::int64_t>(std::clamp(number, -1e18, 1e18)));
}

bool is_of(const Json& value, const std::set<std::string>& types) {
  if (value.is_number()) return types.contains("number") || (types.contains("integer") && is_integral(value));
  if (value.is_boolean()) return types.contains("boolean");
  return types.contains(value.type_name());
}

}  // namespace

RuleIndex SchemaReader::rule_of(PlacedSchema placed) {
  const auto [known, is_new] = known_.try_emplace(text_of(*placed.schema));
  if (is_new) {
    known->second = rules_.add_rule("#" + placed.pointer);
    wanted_.push_back({std::move(placed), known->second});
  }
  return known->second;
}

std::string SchemaReader::text_of(const Json& schema) {
  std::string text = schema.dump(-1, ' ', false, Json::error_handler_t::replace);
  n_text_bytes_ += text.size();
  return text;
}

Status SchemaReader::hold_text(const std::string& pointer) const {
  if (n_text_bytes_ <= kMaxSchemaText) return {};
  return fail(
      GrammarError::kTooLarge,
      fmt::format("#{}: schemas, nested and combined, come to more than {} bytes", pointer, kMaxSchemaText));
}

Result<RuleIndex> SchemaReader::read() {
  const RuleIndex root = rule_of({&document_, ""});
  for (; !wanted_.empty() && !rules_.is_full(); wanted_.pop_front()) {
    const Wanted wanted = wanted_.front();
    RETURN_IF_ERROR(hold_text(wanted.placed.pointer));
    RETURN_IF_ERROR(make(wanted));
  }
  return root;
}

Status SchemaReader::make(const Wanted& wanted) {
  const auto& [placed, rule] = wanted;
  const auto [name, start, end] = rules_.rules()[rule];
  const Json& schema = *placed.schema;
  if (schema.is_boolean()) {
    if (schema == true) rules_.add_call(start, json_.value(), end);
    return {};
  }
  if (!schema.is_object())
    return invalid_keyword(placed.pointer, "a schema expected: an object, true or false");
  RETURN_IF_ERROR(check_keywords(schema, placed.pointer));
  if (has(schema, "anyOf") || has(schema, "allOf") || has(schema, "$ref")) {
    ASSIGN_OR_RETURN(const auto parts, parts_of(placed));
    for (const auto& part : parts) rules_.add_call(start, rule_of(part), end);
    return {};
  }
  if (has(schema, "enum") || has(schema, "const")) return make_values(schema, placed.pointer, start, end);
  return make_types(schema, placed.pointer, start, end);
}

Status SchemaReader::make_types(const Json& schema, const std::string& pointer, NodeIndex start,
                                NodeIndex end) {
  const PlacedSchema placed{&schema, pointer};
  for (const auto& type : types_of(schema)) {
    if (type == "null") {
      rules_.add_skip(rules_.append_literal(start, "null"), end);
    } else if (type == "boolean") {
      for (const auto* word : {"true", "false"}) rules_.add_skip(rules_.append_literal(start, word), end);
    } else if (type == "number") {
      for (const auto* bound : {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"})
        if (has(schema, bound))
          return refuse_keyword(pointer,
                                fmt::format("\"{}\" is supported for \"type\": \"integer\" only", bound));
      rules_.add_call(start, json_.number(), end);
    } else if (type == "integer") {
      RETURN_IF_ERROR(append_integer(*this, placed, start, end));
    } else if (type == "string") {
      RETURN_IF_ERROR(append_string(*this, placed, start, end));
    } else if (type == "array") {
      RETURN_IF_ERROR(append_array(*this, placed, start, end));
    } else {
      RETURN_IF_ERROR(append_object(*this, placed, start, end));
    }
  }
  return {};
}

// enum and const, which stand alone or beside a type.
Status SchemaReader::make_values(const Json& schema, const std::string& pointer, NodeIndex start,
                                 NodeIndex end) {
  for (const auto& [name, value] : schema.items())
    if (!is_note(name) && name != "enum" && name != "const" && name != "type" && name != "uniqueItems")
      return refuse_keyword(pointer, fmt::format("\"{}\" beside enum or const is not supported", name));
  const auto types = types_of(schema);
  const auto append = [&](const Json& value) {
    if (is_of(value, types)) rules_.add_skip(json_.append_value(start, value), end);
  };
  if (!has(schema, "enum")) {
    append(schema["const"]);
    return {};
  }
  for (const auto& value : schema["enum"])
    if (!has(schema, "const") || schema["const"] == value) append(value);
  return {};
}

}  // namespace concertina::grammar
