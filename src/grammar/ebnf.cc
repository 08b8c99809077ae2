#include "grammar/ebnf.h"

#include <fmt/format.h>

#include "base/utf8.h"
#include "grammar/ebnf_parser.h"

namespace concertina::grammar {
namespace {

using Kind = Expression::Kind;

bool is_name_character(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_' ||
         c == '.';
}

}  // namespace

Status read_ebnf(RuleSet& rules, std::string_view source) { return EbnfParser(rules, source).parse(); }

void EbnfParser::skip_blanks() {
  while (at_ < text_.size()) {
    if (peek() == '#')
      while (at_ < text_.size() && peek() != '\n') ++at_;
    else if (peek() == ' ' || peek() == '\t' || peek() == '\r' || peek() == '\n')
      ++at_;
    else
      return;
  }
}

std::string_view EbnfParser::name() {
  const std::size_t begin = at_;
  while (at_ < text_.size() && is_name_character(text_[at_])) ++at_;
  return text_.substr(begin, at_ - begin);
}

bool EbnfParser::begins_rule() {
  const std::size_t before = at_;
  bool begins = false;
  if (!name().empty()) {
    skip_blanks();
    begins = text_.substr(at_, 3) == "::=";
  }
  at_ = before;
  return begins;
}

RuleIndex EbnfParser::index_of(std::string_view name) {
  const auto known = indices_.find(std::string(name));
  if (known != indices_.end()) return known->second;
  return indices_[std::string(name)] = rules_.add_rule(std::string(name));
}

Status EbnfParser::parse() {
  if (!is_valid_utf8(text_)) return invalid("the grammar is not UTF-8");
  index_of("root");
  for (skip_blanks(); at_ < text_.size() && !rules_.is_full(); skip_blanks()) RETURN_IF_ERROR(rule());
  if (rules_.is_full()) return {};
  for (const auto& [name, index] : indices_)
    if (!defined_.contains(index))
      return fail(GrammarError::kInvalid, fmt::format("there is no rule \"{}\"", name));
  return {};
}

Status EbnfParser::rule() {
  if (!begins_rule()) return invalid("\"name ::=\" expected");
  const std::string rule_name(name());
  skip_blanks();
  take("::=");
  const RuleIndex index = index_of(rule_name);
  if (!defined_.insert(index).second)
    return invalid(fmt::format("the rule \"{}\" is there twice", rule_name));
  ASSIGN_OR_RETURN(const Expression expression, alternation());
  const auto [unused, start, end] = rules_.rules()[index];
  rules_.add_skip(append_expression(rules_, start, expression, Writing::kPlain), end);
  return {};
}

Result<Expression> EbnfParser::sequence() {
  Expression result{.kind = Kind::kSequence};
  for (skip_blanks(); at_ < text_.size() && peek() != '|' && peek() != ')' && !begins_rule(); skip_blanks()) {
    ASSIGN_OR_RETURN(Expression part, quantified());
    result.parts.push_back(std::move(part));
  }
  return result;
}

Result<Expression> EbnfParser::quantified() {
  ASSIGN_OR_RETURN(Expression part, atom());
  for (;;) {
    std::uint32_t least = 0, most = kUnbounded;
    if (take("?"))
      most = 1;
    else if (take("+"))
      least = 1;
    else if (peek() == '{')
      RETURN_IF_ERROR(braces(least, most));
    else if (!take("*"))
      return part;
    Expression repeat{.kind = Kind::kRepeat, .least = least, .most = most};
    repeat.parts.push_back(std::move(part));
    part = std::move(repeat);
  }
}

bool EbnfParser::number_in_blanks(std::uint32_t& value) {
  skip_blanks();
  const bool is_there = number(value);
  skip_blanks();
  return is_there;
}

Status EbnfParser::braces(std::uint32_t& least, std::uint32_t& most) {
  ++at_;
  if (!number_in_blanks(least)) {
    if (peek() != ',') return invalid("{n}, {n,}, {,m} or {n,m} expected");
    least = 0;
  }
  most = least;
  if (take(",") && !number_in_blanks(most)) most = kUnbounded;
  if (!take("}")) return invalid("a { without a }");
  if (most < least) return invalid(fmt::format("{{{},{}}}: the bounds are the wrong way round", least, most));
  return {};
}

Result<Expression> EbnfParser::atom() {
  switch (peek()) {
    case '"':
      return literal();
    case '[':
      return character_class();
    case '(': {
      ++at_;
      ASSIGN_OR_RETURN(Expression inside, alternation());
      if (!take(")")) return invalid(") expected");
      return inside;
    }
    case '.':
      ++at_;
      return of_characters(CodePoints::all());
    default:
      break;
  }
  const std::string_view called = name();
  if (called.empty()) return invalid("a literal, a class, a group or a rule's name expected");
  Expression call{.kind = Kind::kCall};
  call.rule = index_of(called);
  return call;
}

Result<Expression> EbnfParser::literal() {
  ++at_;
  Expression result{.kind = Kind::kSequence};
  while (peek() != '"') {
    if (at_ >= text_.size() || peek() == '\n') return invalid("a literal without its closing \"");
    ASSIGN_OR_RETURN(const char32_t c, character());
    result.parts.push_back(of_characters({{c, c}}));
  }
  ++at_;
  return result;
}

Result<Expression> EbnfParser::character_class() {
  ++at_;
  const bool is_negated = take("^");
  CodePoints characters;
  while (peek() != ']') {
    if (at_ >= text_.size() || peek() == '\n') return invalid("a class without its ]");
    ASSIGN_OR_RETURN(const char32_t first, character());
    char32_t last = first;
    if (peek() == '-' && at_ + 1 < text_.size() && text_[at_ + 1] != ']') {
      ++at_;
      ASSIGN_OR_RETURN(last, character());
    }
    if (last < first) return invalid("a range whose ends are the wrong way round");
    characters.add(first, last);
  }
  ++at_;
  return of_characters(is_negated ? characters.complement() : characters);
}

Result<char32_t> EbnfParser::character() {
  if (!take("\\")) return take_character();
  constexpr std::string_view kEscapes = "n\nr\rt\t\"\"\\\\[[]]--^^''//";
  const char c = peek();
  for (std::size_t i = 0; i < kEscapes.size(); i += 2) {
    if (kEscapes[i] != c) continue;
    ++at_;
    return static_cast<char32_t>(kEscapes[i + 1]);
  }
  const std::size_t n_digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
  if (n_digits == 0) return invalid(fmt::format("\\{} is no escape", c));
  ++at_;
  ASSIGN_OR_RETURN(const char32_t value, hexadecimal(n_digits));
  if (value > kLastCodePoint || (value >= 0xD800 && value <= 0xDFFF))
    return invalid("the escape is no character");
  return value;
}

}  // namespace concertina::grammar
