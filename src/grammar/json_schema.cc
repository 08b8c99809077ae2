#include "grammar/json_schema.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "grammar/json_source.h"
#include "grammar/schema_reader.h"

namespace concertina::grammar {

Status read_json_schema(RuleSet& rules, std::string_view source) {
  ASSIGN_OR_RETURN(const Json document, parse_json_source(source));
  const RuleIndex root = rules.add_rule("#");
  const auto [name, start, end] = rules.rules()[root];
  JsonRules json(rules);
  ASSIGN_OR_RETURN(const RuleIndex all, SchemaReader(rules, document, json).read());
  rules.add_call(start, all, end);
  return {};
}

Status read_json_object(RuleSet& rules) {
  const RuleIndex root = rules.add_rule("json_object");
  const auto [name, start, end] = rules.rules()[root];
  rules.add_call(start, JsonRules(rules).object(), end);
  return {};
}

Status read_choice(RuleSet& rules, std::string_view json_strings) {
  ASSIGN_OR_RETURN(const Json choices, parse_json_source(json_strings));
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
