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

// Written with a backslash, or in more bytes than one.
RuleIndex JsonRules::wide_character() {
  if (known_.character) return *known_.character;
  const RuleIndex rule = *(known_.character = rules_.add_rule("character"));
  const auto [name, start, end] = rules_.rules()[rule];
  append_characters(rules_, start, end, {{0x80, kLastCodePoint}}, Writing::kPlain);
  const NodeIndex escape = rules_.append_literal(start, "\\");
  for (const char c : std::string_view("\"\\/bfnrt"))
    rules_.add_bytes(escape, static_cast<std::uint8_t>(c), static_cast<std::uint8_t>(c), end);
  const auto hexadecimal = [&](NodeIndex from, std::string_view digits, NodeIndex to) {
    for (const char c : digits)
      rules_.add_bytes(from, static_cast<std::uint8_t>(c), static_cast<std::uint8_t>(c), to);
  };
  constexpr std::string_view kAll = "0123456789abcdefABCDEF";
  const NodeIndex unicode = rules_.append_literal(escape, "u");
  const NodeIndex second = rules_.add_node(), third = rules_.add_node(), fourth = rules_.add_node();
  hexadecimal(unicode, "0123456789abcefABCEF", second);
  hexadecimal(second, kAll, third);
  hexadecimal(third, kAll, fourth);
  hexadecimal(fourth, kAll, end);
  const NodeIndex d = rules_.add_node();
  hexadecimal(unicode, "dD", d);
  hexadecimal(d, "01234567", third);
  const NodeIndex high = rules_.add_node(), high_third = rules_.add_node(), high_fourth = rules_.add_node();
  hexadecimal(d, "89abAB", high);
  hexadecimal(high, kAll, high_third);
  hexadecimal(high_third, kAll, high_fourth);
  const NodeIndex low = rules_.append_literal(high_fourth, "\\u"), low_second = rules_.add_node();
  hexadecimal(low, "dD", low_second);
  hexadecimal(low_second, "cdefCDEF", third);
  return rule;
}

namespace {

void add_plain_ascii(RuleSet& rules, NodeIndex from, NodeIndex to) {
  rules.add_bytes(from, 0x20, 0x21, to);
  rules.add_bytes(from, 0x23, 0x5B, to);
  rules.add_bytes(from, 0x5D, 0x7F, to);
}

}  // namespace

RuleIndex JsonRules::rest_of_string() {
  if (known_.rest) return *known_.rest;
  const RuleIndex rule = *(known_.rest = rules_.add_rule("string"));
  const auto [name, start, end] = rules_.rules()[rule];
  const NodeIndex loop = rules_.add_node();
  rules_.add_skip(start, loop);
  add_plain_ascii(rules_, loop, loop);
  rules_.add_call(loop, wide_character(), loop);
  rules_.add_skip(rules_.append_literal(loop, "\""), end);
  return rule;
}

void JsonRules::append_string(RuleIndex rule) {
  const auto [name, start, end] = rules_.rules()[rule];
  const NodeIndex inside = rules_.append_literal(start, "\"");
  add_plain_ascii(rules_, inside, inside);
  rules_.add_call(inside, wide_character(), inside);
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
  for (std::size_t n = 0; n < std::max(least, most.value_or(0)) && !rules_.is_full(); ++n) {
    if (n >= least) rules_.add_skip(at, close);
    const NodeIndex next = rules_.add_node();
    add_plain_ascii(rules_, at, next);
    rules_.add_call(at, wide_character(), next);
    at = next;
  }
  if (!most) {
    add_plain_ascii(rules_, at, at);
    rules_.add_call(at, wide_character(), at);
  }
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
