#include <cmath>
#include <nlohmann/json.hpp>

#include "grammar/json_rules.h"
#include "grammar/other_keys.h"

namespace concertina::grammar {
namespace {

using Json = nlohmann::ordered_json;

// A whole number is written as one: 1.0 is 1.
std::string written(const Json& scalar) {
  if (scalar.is_number_float()) {
    const double number = scalar.get<double>();
    if (number == std::floor(number) && std::abs(number) <= 9007199254740992.0)
      return std::to_string(static_cast<std::int64_t>(number));
  }
  return scalar.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace

NodeIndex JsonRules::append_value(NodeIndex from, const Json& value) {
  if (!value.is_structured()) return rules_.append_literal(from, written(value));
  NodeIndex at = append_space(rules_.append_literal(from, value.is_object() ? "{" : "["));
  bool is_first = true;
  for (const auto& [name, member] : value.items()) {
    if (!is_first) at = append_separator(at, ',');
    is_first = false;
    if (value.is_object()) at = append_separator(rules_.append_literal(at, quoted(name)), ':');
    at = append_value(at, member);
  }
  if (!is_first) at = append_space(at);
  return rules_.append_literal(at, value.is_object() ? "}" : "]");
}

RuleIndex JsonRules::key_but(const std::set<std::string>& names) {
  const RuleIndex rule = rules_.add_rule("key");
  const auto [name, start, end] = rules_.rules()[rule];
  OtherKeys(rules_, names).append(start, end);
  return rule;
}

}  // namespace concertina::grammar
