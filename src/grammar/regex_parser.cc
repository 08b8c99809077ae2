#include "grammar/regex_parser.h"

#include <fmt/format.h>

#include "base/utf8.h"

namespace concertina::grammar {
namespace {
using Kind = Expression::Kind;
}  // namespace

CodePoints digits() { return {{'0', '9'}}; }
CodePoints word_characters() { return {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}}; }
CodePoints white_space() {  // ECMA-262's WhiteSpace and LineTerminator
  return {{9, 13},          {' ', ' '},       {0xA0, 0xA0},     {0x1680, 0x1680}, {0x2000, 0x200A},
          {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F}, {0x3000, 0x3000}, {0xFEFF, 0xFEFF}};
}

tl::unexpected<Error> RegexParser::refuse(std::string_view what) const {
  return fail(GrammarError::kUnsupported, fmt::format("at byte {}: {} is not supported", at_, what));
}

Result<Expression> RegexParser::parse() {
  if (!is_valid_utf8(text_)) return invalid("the expression is not UTF-8");
  ASSIGN_OR_RETURN(Expression whole, alternation());
  if (!at_end()) return invalid("a ) without a (");
  return whole;
}

Result<Expression> RegexParser::sequence() {
  Expression result{.kind = Kind::kSequence};
  while (!at_end() && peek() != '|' && peek() != ')') {
    ASSIGN_OR_RETURN(Expression part, quantified());
    result.parts.push_back(std::move(part));
  }
  return result;
}

Result<Expression> RegexParser::quantified() {
  ASSIGN_OR_RETURN(Expression part, atom());
  while (!at_end()) {
    std::uint32_t least = 0, most = kUnbounded;
    if (take("?")) {
      most = 1;
    } else if (take("+")) {
      least = 1;
    } else if (peek() == '{') {
      const std::size_t before = at_;
      RETURN_IF_ERROR(braces(least, most));
      if (at_ == before) break;
    } else if (!take("*")) {
      break;
    }
    if (part.kind == Kind::kBegin || part.kind == Kind::kEnd) return invalid("a quantifier behind ^ or $");
    if (take("?")) {
      // Lazy: which texts match is the same.
    } else if (peek() == '+') {
      return refuse("a possessive quantifier");
    } else if (peek() == '*' || peek() == '?') {
      return invalid("a quantifier behind a quantifier");
    }
    Expression repeat{.kind = Kind::kRepeat, .least = least, .most = most};
    repeat.parts.push_back(std::move(part));
    part = std::move(repeat);
  }
  return part;
}

// Braces that are no quantifier are themselves, as in ECMA-262's annex B: at_ stays.
Status RegexParser::braces(std::uint32_t& least, std::uint32_t& most) {
  const std::size_t begin = at_;
  ++at_;
  if (!number(least)) {
    at_ = begin;
    return {};
  }
  most = least;
  if (take(",") && !number(most)) most = kUnbounded;
  if (!take("}")) {
    at_ = begin;
    return {};
  }
  if (most < least) return invalid(fmt::format("{{{},{}}}: the bounds are the wrong way round", least, most));
  return {};
}

Result<Expression> RegexParser::atom() {
  switch (peek()) {
    case '(':
      return group();
    case '[': {
      ASSIGN_OR_RETURN(CodePoints characters, character_class());
      return of_characters(std::move(characters));
    }
    case '\\': {
      ASSIGN_OR_RETURN(CodePoints characters, escape());
      return of_characters(std::move(characters));
    }
    case '.':
      ++at_;
      return of_characters(CodePoints{{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}}.complement());
    case '^':
      ++at_;
      return Expression{.kind = Kind::kBegin};
    case '$':
      ++at_;
      return Expression{.kind = Kind::kEnd};
    case '*':
    case '+':
    case '?':
      return invalid("a quantifier with nothing before it");
    default: {
      const char32_t c = take_character();
      return of_characters({{c, c}});
    }
  }
}

Result<Expression> RegexParser::group() {
  const std::size_t begin = at_;
  ++at_;
  if (take("?")) {
    if (take("=") || take("!") || take("<=") || take("<!")) {
      at_ = begin;
      return refuse("look-around");
    }
    if (take("<") || take("P<")) {
      while (!at_end() && peek() != '>') ++at_;
      if (!take(">")) return invalid("the name of a group has no end");
    } else if (!take(":")) {
      at_ = begin;
      return refuse("(? with flags, conditions or atomic groups");
    }
  }
  ASSIGN_OR_RETURN(Expression inside, alternation());
  if (!take(")")) {
    at_ = begin;
    return invalid("a ( without a )");
  }
  return inside;
}

}  // namespace concertina::grammar
