#include <fmt/format.h>

#include <optional>

#include "grammar/formats.h"
#include "grammar/regex.h"
#include "grammar/schema_types.h"

namespace concertina::grammar {
namespace {

Status append_expression_in_quotes(SchemaReader& reader, const std::string& pointer,
                                   const std::string& expression, RegexMatch match, NodeIndex from,
                                   NodeIndex to) {
  RuleSet& rules = reader.rules();
  auto end = append_regex(rules, rules.append_literal(from, "\""), expression, match, Writing::kJsonString);
  if (!end) return fail(end.error().with_context("#" + pointer));
  rules.add_skip(rules.append_literal(*end, "\""), to);
  return {};
}

}  // namespace

Status append_string(SchemaReader& reader, const PlacedSchema& placed, NodeIndex from, NodeIndex to) {
  const Json& schema = *placed.schema;
  const bool has_length = schema.contains("minLength") || schema.contains("maxLength");
  const bool has_pattern = schema.contains("pattern"), has_format = schema.contains("format");
  if (has_pattern + has_format + has_length > 1)
    return refuse_keyword(placed.pointer,
                          "of pattern, format and lengths only one is supported for a string");
  if (has_pattern)
    return append_expression_in_quotes(reader, pointer_to(placed.pointer, "pattern"),
                                       schema["pattern"].get<std::string>(), RegexMatch::kSearch, from, to);
  if (has_format) {
    const auto format = schema["format"].get<std::string>();
    const auto expression = expression_of_format(format);
    if (!expression)
      return refuse_keyword(placed.pointer,
                            fmt::format("\"format\": \"{}\" is not supported: {}", format, formats()));
    return append_expression_in_quotes(reader, pointer_to(placed.pointer, "format"), *expression,
                                       RegexMatch::kWhole, from, to);
  }
  std::optional<std::size_t> most;
  if (schema.contains("maxLength")) most = schema["maxLength"].get<std::size_t>();
  const std::size_t least = schema.contains("minLength") ? schema["minLength"].get<std::size_t>() : 0;
  if (most && *most < least) return {};  // no string
  reader.rules().add_skip(reader.json().append_string_of(from, least, most), to);
  return {};
}

}  // namespace concertina::grammar
