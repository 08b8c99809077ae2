// Schemas that are made of others: $ref, anyOf, allOf.
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "grammar/schema_reader.h"

namespace concertina::grammar {
namespace {

Json without_parts(const Json& schema) {
  Json base = Json::object();
  for (const auto& [name, value] : schema.items())
    if (!is_note(name) && name != "anyOf" && name != "allOf" && name != "$ref") base[name] = value;
  return base;
}

std::optional<std::string> percent_decoded(std::string_view text) {
  std::string result;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      result += text[i];
      continue;
    }
    unsigned value = 0;
    for (std::size_t digit = 1; digit <= 2; ++digit) {
      const char c = i + digit < text.size() ? text[i + digit] : '\0';
      if (!std::isxdigit(static_cast<unsigned char>(c))) return std::nullopt;
      value = value * 16 + static_cast<unsigned>(c <= '9' ? c - '0' : (c | 32) - 'a' + 10);
    }
    result += static_cast<char>(value);
    i += 2;
  }
  return result;
}

// What two schemas say in one: null where only a conjunction of both says it.
Json narrowed(const std::string& keyword, const Json& a, const Json& b) {
  if (a == b) return a;
  if (keyword == "minLength" || keyword == "minItems" || keyword == "minimum" ||
      keyword == "exclusiveMinimum")
    return a < b ? b : a;
  if (keyword == "maxLength" || keyword == "maxItems" || keyword == "maximum" ||
      keyword == "exclusiveMaximum")
    return a < b ? a : b;
  if (keyword != "required" && keyword != "enum") return nullptr;
  Json result = keyword == "required" ? a : Json::array();
  const std::set<Json> all_a(a.begin(), a.end());
  for (const auto& one : b)
    if (all_a.contains(one) == (keyword == "enum")) result.push_back(one);
  return result;
}

Json list_of_types(const Json& type) { return type.is_array() ? type : Json::array({type}); }

Json common_types(const Json& a, const Json& b) {
  const Json all_a = list_of_types(a), all_b = list_of_types(b);
  const auto in = [](const Json& all, const char* type) {
    return std::find(all.begin(), all.end(), type) != all.end();
  };
  Json result = Json::array();
  for (const auto& type : all_a)
    if (in(all_b, type.get<std::string>().c_str()) || (type == "integer" && in(all_b, "number")))
      result.push_back(type);
  if (in(all_a, "number") && in(all_b, "integer") && !in(result, "integer")) result.push_back("integer");
  return result;
}

}  // namespace

Result<PlacedSchema> SchemaReader::referred(const Json& reference, const std::string& pointer) const {
  const auto text = reference.get<std::string>();
  if (!text.starts_with("#") || (text.size() > 1 && text[1] != '/'))
    return refuse_keyword(pointer,
                          fmt::format("$ref \"{}\": only #/... is supported, within the document", text));
  const auto decoded = percent_decoded(std::string_view(text).substr(1));
  const Json* at = &document_;
  std::string rest = decoded.value_or("/%");
  for (std::size_t begin = 0; begin < rest.size();) {
    const std::size_t end = std::min(rest.find('/', begin + 1), rest.size());
    std::string name;
    for (std::size_t i = begin + 1; i < end; ++i) {
      if (rest[i] == '~' && i + 1 < end && (rest[i + 1] == '0' || rest[i + 1] == '1'))
        name += rest[++i] == '0' ? '~' : '/';
      else
        name += rest[i];
    }
    const bool is_index = at->is_array() && !name.empty() && name.size() < 8 &&
                          std::all_of(name.begin(), name.end(), [](char c) { return c >= '0' && c <= '9'; });
    if (at->is_object() && at->contains(name))
      at = &(*at)[name];
    else if (is_index && std::stoul(name) < at->size())
      at = &(*at)[std::stoul(name)];
    else
      return invalid_keyword(pointer, fmt::format("$ref \"{}\": there is no such place", text));
    begin = end;
  }
  return PlacedSchema{at, rest};
}

Result<std::vector<PlacedSchema>> SchemaReader::parts_of(const PlacedSchema& placed) {
  const Json& schema = *placed.schema;
  // What holds in any case, merged; then with each of anyOf's.
  std::vector<PlacedSchema> all;
  const Json base = without_parts(schema);
  if (!base.empty()) all.push_back({&made_.emplace_back(base), placed.pointer});
  if (schema.contains("$ref")) {
    ASSIGN_OR_RETURN(auto target, referred(schema["$ref"], placed.pointer));
    all.push_back(std::move(target));
  }
  if (schema.contains("allOf"))
    for (std::size_t i = 0; i < schema["allOf"].size(); ++i)
      all.push_back({&schema["allOf"][i], fmt::format("{}/allOf/{}", placed.pointer, i)});
  for (; all.size() > 1; all.pop_back()) {
    ASSIGN_OR_RETURN(all[all.size() - 2], merged(all[all.size() - 2], all.back()));
  }
  if (!schema.contains("anyOf")) return all;
  std::vector<PlacedSchema> parts;
  for (std::size_t i = 0; i < schema["anyOf"].size(); ++i) {
    PlacedSchema part{&schema["anyOf"][i], fmt::format("{}/anyOf/{}", placed.pointer, i)};
    if (!all.empty()) {
      ASSIGN_OR_RETURN(part, merged(all[0], part));
    }
    parts.push_back(std::move(part));
  }
  return parts;
}

Status SchemaReader::merge_keyword(Json& into, const std::string& keyword, const Json& value,
                                   const std::string& pointer) {
  if (!into.contains(keyword)) {
    into[keyword] = value;
    return {};
  }
  Json& before = into[keyword];
  if (keyword == "type" && before != value) {
    before = common_types(before, value);
    return {};
  }
  if (keyword == "properties" && before != value) {
    for (const auto& [name, schema] : value.items()) {
      if (!before.contains(name))
        before[name] = schema;
      else if (before[name] != schema)
        before[name] = {{"allOf", {before[name], schema}}};
    }
    return {};
  }
  Json both = narrowed(keyword, before, value);
  if (both.is_null() && !before.is_null())
    return refuse_keyword(pointer, fmt::format("\"{}\" together with another one is not supported", keyword));
  before = std::move(both);
  return {};
}

// Both hold. Their own parts (anyOf, $ref) stay parts of the one that is made.
Result<PlacedSchema> SchemaReader::merged(const PlacedSchema& a, const PlacedSchema& b) {
  for (const auto* one : {&a, &b}) {
    if (one->schema->is_object())
      RETURN_IF_ERROR(check_keywords(*one->schema, one->pointer));
    else if (!one->schema->is_boolean())
      return invalid_keyword(one->pointer, "a schema expected");
  }
  if (*b.schema == true || *a.schema == false) return a;
  if (*a.schema == true || *b.schema == false) return b;
  Json both = *a.schema;
  const auto has_closed = [](const Json& schema) { return schema.contains("additionalProperties"); };
  const auto names = [](const Json& schema) { return schema.value("properties", Json::object()); };
  if ((has_closed(both) || has_closed(*b.schema)) && names(both) != names(*b.schema))
    return refuse_keyword(b.pointer, "\"additionalProperties\" where schemas are combined is not supported");
  if (both.contains("prefixItems") != b.schema->contains("prefixItems") &&
      (both.contains("items") || b.schema->contains("items")))
    return refuse_keyword(b.pointer,
                          "\"prefixItems\" and \"items\" of schemas that are combined are not supported");
  for (const auto& [keyword, value] : b.schema->items())
    if (!is_note(keyword)) RETURN_IF_ERROR(merge_keyword(both, keyword, value, b.pointer));
  if (both.contains("type") && both["type"].empty()) both = false;
  if (both.is_object() && both.contains("enum") && both["enum"].empty()) both = false;
  text_of(both);
  RETURN_IF_ERROR(hold_text(b.pointer));
  return PlacedSchema{&made_.emplace_back(std::move(both)), b.pointer};
}

}  // namespace concertina::grammar
