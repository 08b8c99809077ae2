#include "grammar/json_schema.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "grammar/limits.h"
#include "grammar/schema_reader.h"

namespace concertina::grammar {
namespace {

// The nesting is bounded while it is read: what walks a schema calls itself for each level.
Result<Json> parse(std::string_view source) {
  std::size_t deepest = 0;
  const auto watch = [&](int depth, Json::parse_event_t, Json&) {
    deepest = std::max(deepest, static_cast<std::size_t>(depth));
    return deepest <= kMaxDepth;
  };
  try {
    Json document = Json::parse(source, watch);
    if (deepest > kMaxDepth)
      return fail(GrammarError::kTooLarge, fmt::format("#: nested deeper than {}", kMaxDepth));
    return document;
  } catch (const Json::exception& error) {
    return fail(GrammarError::kInvalid, fmt::format("#: not JSON: {}", error.what()));
  }
}

}  // namespace

Status read_json_schema(RuleSet& rules, std::string_view source) {
  ASSIGN_OR_RETURN(const Json document, parse(source));
  return SchemaReader(rules, document).read();
}

Status read_json_object(RuleSet& rules) {
  const RuleIndex root = rules.add_rule("json_object");
  const auto [name, start, end] = rules.rules()[root];
  rules.add_call(start, JsonRules(rules).object(), end);
  return {};
}

Status read_choice(RuleSet& rules, std::string_view json_strings) {
  ASSIGN_OR_RETURN(const Json choices, parse(json_strings));
  const RuleIndex root = rules.add_rule("choice");
  const auto [name, start, end] = rules.rules()[root];
  if (!choices.is_array() || choices.empty())
    return fail(GrammarError::kInvalid, "an array of strings, of one or more, expected");
  for (std::size_t i = 0; i < choices.size(); ++i) {
    if (!choices[i].is_string() || choices[i].get<std::string>().empty())
      return fail(GrammarError::kInvalid, fmt::format("[{}]: a string that is not empty expected", i));
    rules.add_skip(rules.append_literal(start, choices[i].get<std::string>()), end);
  }
  return {};
}

}  // namespace concertina::grammar
