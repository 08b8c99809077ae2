#include "grammar/json_rules.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace concertina::grammar {

std::string quoted(const std::string& text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

RuleIndex JsonRules::white_space() {
  if (known_.white_space) return *known_.white_space;
  const RuleIndex rule = *(known_.white_space = rules_.add_rule("white space"));
  const auto [name, start, end] = rules_.rules()[rule];
  rules_.add_skip(start, end);
  rules_.add_skip(rules_.append_literal(start, " "), end);
  const NodeIndex one = rules_.append_literal(start, "\n"), two = rules_.append_literal(one, "\n");
  NodeIndex blanks = rules_.add_node();
  rules_.add_skip(one, blanks);
  rules_.add_skip(two, blanks);
  for (int i = 0; i < 20; ++i) {
    rules_.add_skip(blanks, end);
    const NodeIndex next = rules_.append_literal(blanks, " ");
    rules_.add_bytes(blanks, '\t', '\t', next);
    blanks = next;
  }
  rules_.add_skip(blanks, end);
  return rule;
}

NodeIndex JsonRules::append_separator(NodeIndex from, char separator) {
  return append_space(rules_.append_literal(from, {&separator, 1}));
}

// Inlined: a rule of its own for wide characters would end in the middle of thousands of tokens, whose rests
// each mask had to walk (1.5 ms of one at 150,000 tokens).
void JsonRules::append_any_character(NodeIndex from, NodeIndex to) {
  append_characters(rules_, from, to, CodePoints{{0x20, kLastCodePoint}}.without('"').without('\\'),
                    Writing::kPlain);
  const NodeIndex escape = rules_.append_literal(from, "\\");
  const auto add = [&](NodeIndex at, std::string_view bytes, NodeIndex next) {
    for (const char c : bytes)
      rules_.add_bytes(at, static_cast<std::uint8_t>(c), static_cast<std::uint8_t>(c), next);
  };
  constexpr std::string_view kAll = "0123456789abcdefABCDEF";
  add(escape, "\"\\/bfnrt", to);
  const NodeIndex unicode = rules_.append_literal(escape, "u");
  const NodeIndex second = rules_.add_node(), third = rules_.add_node(), fourth = rules_.add_node();
  add(unicode, "0123456789abcefABCEF", second);
  add(second, kAll, third);
  add(third, kAll, fourth);
  add(fourth, kAll, to);
  const NodeIndex d = rules_.add_node();
  add(unicode, "dD", d);
  add(d, "01234567", third);
  const NodeIndex high = rules_.add_node(), high_fourth = rules_.add_node(), high_end = rules_.add_node();
  add(d, "89abAB", high);
  add(high, kAll, high_fourth);
  add(high_fourth, kAll, high_end);
  const NodeIndex low = rules_.append_literal(high_end, "\\u"), low_second = rules_.add_node();
  add(low, "dD", low_second);
  add(low_second, "cdefCDEF", third);
}

void JsonRules::append_string(RuleIndex rule) {
  const auto [name, start, end] = rules_.rules()[rule];
  const NodeIndex inside = rules_.append_literal(start, "\"");
  append_any_character(inside, inside);
  rules_.add_skip(rules_.append_literal(inside, "\""), end);
}

RuleIndex JsonRules::string() {
  if (!known_.string) append_string(*(known_.string = rules_.add_rule("string")));
  return *known_.string;
}

RuleIndex JsonRules::key() {
  if (!known_.key) append_string(*(known_.key = rules_.add_rule("key")));
  return *known_.key;
}

NodeIndex JsonRules::append_string_of(NodeIndex from, std::size_t least, std::optional<std::size_t> most) {
  if (least == 0 && !most) return rules_.append_call(from, string());
  NodeIndex at = rules_.append_literal(from, "\"");
  const NodeIndex close = rules_.add_node();
  const CodePoints all = CodePoints::all();
  for (std::size_t n = 0; n < std::max(least, most.value_or(0)) && !rules_.is_full(); ++n) {
    if (n >= least) rules_.add_skip(at, close);
    const NodeIndex next = rules_.add_node();
    append_characters(rules_, at, next, all, Writing::kJsonString);
    at = next;
  }
  if (!most) append_characters(rules_, at, at, all, Writing::kJsonString);
  rules_.add_skip(at, close);
  return rules_.append_literal(close, "\"");
}

void JsonRules::append_number(RuleIndex rule, bool is_whole) {
  const auto [name, start, end] = rules_.rules()[rule];
  const NodeIndex unsigned_part = rules_.append_literal(start, "-");
  rules_.add_skip(start, unsigned_part);
  const NodeIndex whole = rules_.append_literal(unsigned_part, "0"), digits = rules_.add_node();
  rules_.add_bytes(unsigned_part, '1', '9', digits);
  rules_.add_bytes(digits, '0', '9', digits);
  rules_.add_skip(digits, whole);
  rules_.add_skip(whole, end);
  if (is_whole) return;
  const NodeIndex point = rules_.append_literal(whole, "."), fraction = rules_.add_node();
  rules_.add_bytes(point, '0', '9', fraction);
  rules_.add_bytes(fraction, '0', '9', fraction);
  rules_.add_skip(fraction, end);
  const NodeIndex exponent = rules_.add_node(), sign = rules_.add_node(), power = rules_.add_node();
  for (const NodeIndex from : {whole, fraction})
    for (const std::uint8_t e : {'e', 'E'}) rules_.add_bytes(from, e, e, exponent);
  rules_.add_skip(exponent, sign);
  for (const std::uint8_t c : {'+', '-'}) rules_.add_bytes(exponent, c, c, sign);
  rules_.add_bytes(sign, '0', '9', power);
  rules_.add_bytes(power, '0', '9', power);
  rules_.add_skip(power, end);
}

RuleIndex JsonRules::integer() {
  if (!known_.integer) append_number(*(known_.integer = rules_.add_rule("integer")), true);
  return *known_.integer;
}

RuleIndex JsonRules::number() {
  if (!known_.number) append_number(*(known_.number = rules_.add_rule("number")), false);
  return *known_.number;
}

RuleIndex JsonRules::value() {
  if (known_.value) return *known_.value;
  const RuleIndex rule = *(known_.value = rules_.add_rule("value"));
  const auto [name, start, end] = rules_.rules()[rule];
  for (const auto* word : {"true", "false", "null"}) rules_.add_skip(rules_.append_literal(start, word), end);
  for (const RuleIndex part : {object(), array(), string(), number()}) rules_.add_call(start, part, end);
  return rule;
}

RuleIndex JsonRules::object() {
  if (known_.object) return *known_.object;
  const RuleIndex rule = *(known_.object = rules_.add_rule("object"));
  const auto [name, start, end] = rules_.rules()[rule];
  const NodeIndex inside = append_space(rules_.append_literal(start, "{"));
  const NodeIndex member = rules_.add_node();
  rules_.add_skip(inside, member);
  const NodeIndex colon = append_separator(rules_.append_call(member, key()), ':');
  const NodeIndex after = rules_.append_call(colon, value());
  rules_.add_skip(append_separator(after, ','), member);
  const NodeIndex last = append_space(after), close = rules_.add_node();
  rules_.add_skip(last, close);
  rules_.add_skip(inside, close);
  rules_.add_skip(rules_.append_literal(close, "}"), end);
  return rule;
}

RuleIndex JsonRules::array() {
  if (known_.array) return *known_.array;
  const RuleIndex rule = *(known_.array = rules_.add_rule("array"));
  const auto [name, start, end] = rules_.rules()[rule];
  const NodeIndex inside = append_space(rules_.append_literal(start, "["));
  const NodeIndex item = rules_.add_node();
  rules_.add_skip(inside, item);
  const NodeIndex after = rules_.append_call(item, value());
  rules_.add_skip(append_separator(after, ','), item);
  const NodeIndex last = append_space(after), close = rules_.add_node();
  rules_.add_skip(last, close);
  rules_.add_skip(inside, close);
  rules_.add_skip(rules_.append_literal(close, "]"), end);
  return rule;
}

}  // namespace concertina::grammar
