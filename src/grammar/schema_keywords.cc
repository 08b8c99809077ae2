#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include "grammar/schema_reader.h"

namespace concertina::grammar {
namespace {

enum class Takes { kSchema, kSchemas, kSchemaMap, kText, kTexts, kCount, kInteger, kTypes, kList, kAnything };

struct Keyword {
  const char* name;
  Takes takes;
};

constexpr Keyword kKeywords[] = {
    {"type", Takes::kTypes},
    {"enum", Takes::kList},
    {"const", Takes::kAnything},
    {"properties", Takes::kSchemaMap},
    {"required", Takes::kTexts},
    {"additionalProperties", Takes::kSchema},
    {"items", Takes::kSchema},
    {"prefixItems", Takes::kSchemas},
    {"minItems", Takes::kCount},
    {"maxItems", Takes::kCount},
    {"minLength", Takes::kCount},
    {"maxLength", Takes::kCount},
    {"pattern", Takes::kText},
    {"format", Takes::kText},
    {"minimum", Takes::kInteger},
    {"maximum", Takes::kInteger},
    {"exclusiveMinimum", Takes::kInteger},
    {"exclusiveMaximum", Takes::kInteger},
    {"anyOf", Takes::kSchemas},
    {"allOf", Takes::kSchemas},
    {"$ref", Takes::kText},
};

constexpr const char* kNotes[] = {
    "title",       "description", "default",          "examples",       "example", "deprecated",
    "readOnly",    "writeOnly",   "$comment",         "$schema",        "$id",     "$defs",
    "definitions", "strict",      "contentMediaType", "contentEncoding"};

constexpr const char* kTypes[] = {"null", "boolean", "integer", "number", "string", "array", "object"};

bool is_type(const Json& name) {
  return name.is_string() &&
         std::find(std::begin(kTypes), std::end(kTypes), name.get<std::string>()) != std::end(kTypes);
}
bool is_schema(const Json& value) { return value.is_object() || value.is_boolean(); }
bool is_count(const Json& value) {
  return value.is_number_unsigned() ||
         (value.is_number_float() && value.get<double>() >= 0 && value.get<double>() < 1e9 &&
          value.get<double>() == static_cast<double>(value.get<std::int64_t>()));
}

bool fits(const Json& value, Takes takes) {
  const auto all = [&](auto&& good) { return std::all_of(value.begin(), value.end(), good); };
  switch (takes) {
    case Takes::kSchema:
      return is_schema(value);
    case Takes::kSchemas:
      return value.is_array() && !value.empty() && all(is_schema);
    case Takes::kSchemaMap:
      return value.is_object() && all(is_schema);
    case Takes::kText:
      return value.is_string();
    case Takes::kTexts:
      return value.is_array() && all([](const Json& one) { return one.is_string(); });
    case Takes::kCount:
      return is_count(value);
    case Takes::kInteger:
      return value.is_number();
    case Takes::kTypes:
      return is_type(value) || (value.is_array() && !value.empty() && all(is_type));
    case Takes::kList:
      return value.is_array() && !value.empty();
    case Takes::kAnything:
      return true;
  }
  return false;
}

const char* expected(Takes takes) {
  constexpr const char* kTexts[] = {"a schema",
                                    "an array of schemas",
                                    "an object of schemas",
                                    "a string",
                                    "an array of strings",
                                    "a number that is 0 or more",
                                    "a number",
                                    "one or more of null, boolean, integer, number, string, array, object",
                                    "an array of values",
                                    "anything"};
  return kTexts[static_cast<std::size_t>(takes)];
}

}  // namespace

tl::unexpected<Error> refuse_keyword(const std::string& pointer, const std::string& what) {
  return fail(GrammarError::kUnsupported, fmt::format("{}: {}", pointer.empty() ? "#" : "#" + pointer, what));
}
tl::unexpected<Error> invalid_keyword(const std::string& pointer, const std::string& what) {
  return fail(GrammarError::kInvalid, fmt::format("{}: {}", pointer.empty() ? "#" : "#" + pointer, what));
}

std::string pointer_to(const std::string& pointer, const std::string& name) {
  std::string escaped;
  for (const char c : name) escaped += c == '~' ? "~0" : c == '/' ? "~1" : std::string(1, c);
  return pointer + "/" + escaped;
}

bool is_note(const std::string& keyword) {
  return keyword.starts_with("x-") ||
         std::find(std::begin(kNotes), std::end(kNotes), keyword) != std::end(kNotes);
}

Status check_keywords(const Json& schema, const std::string& pointer) {
  for (const auto& member : schema.items()) {
    const std::string& name = member.key();
    const Json& value = member.value();
    if (is_note(name)) continue;
    if (name == "uniqueItems" && value == false) continue;
    const auto keyword = std::find_if(std::begin(kKeywords), std::end(kKeywords),
                                      [&](const Keyword& k) { return name == k.name; });
    if (keyword == std::end(kKeywords))
      return refuse_keyword(pointer, fmt::format("the keyword \"{}\" is not supported", name));
    if (fits(value, keyword->takes)) continue;
    if (name == "items" && value.is_array())
      return refuse_keyword(pointer, "\"items\" as an array is not supported: prefixItems");
    return invalid_keyword(pointer_to(pointer, name), fmt::format("{} expected", expected(keyword->takes)));
  }
  return {};
}

}  // namespace concertina::grammar
