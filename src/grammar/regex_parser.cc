#include "grammar/regex_parser.h"

#include <fmt/format.h>

#include "base/utf8.h"
#include "grammar/error.h"
#include "grammar/limits.h"

namespace concertina::grammar {
namespace {

using Kind = Expression::Kind;

Expression of_characters(CodePoints characters) {
  Expression expression{.kind = Kind::kCharacters};
  expression.characters = std::move(characters);
  return expression;
}

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
tl::unexpected<Error> RegexParser::invalid(std::string_view what) const {
  return fail(GrammarError::kInvalid, fmt::format("at byte {}: {}", at_, what));
}

bool RegexParser::take(std::string_view expected) {
  if (text_.substr(at_, expected.size()) != expected) return false;
  at_ += expected.size();
  return true;
}

char32_t RegexParser::take_character() {
  const Utf8Unit unit = next_utf8(text_.substr(at_));
  at_ += unit.length;
  return unit.code_point;
}

Result<Expression> RegexParser::parse() {
  if (!is_valid_utf8(text_)) return invalid("the expression is not UTF-8");
  ASSIGN_OR_RETURN(Expression whole, alternation());
  if (!at_end()) return invalid("a ) without a (");
  return whole;
}

Result<Expression> RegexParser::alternation() {
  if (++depth_ > kMaxDepth)
    return fail(GrammarError::kTooLarge,
                fmt::format("at byte {}: groups are nested deeper than {}", at_, kMaxDepth));
  Expression result{.kind = Kind::kAlternation};
  do {
    ASSIGN_OR_RETURN(Expression part, sequence());
    result.parts.push_back(std::move(part));
  } while (take("|"));
  --depth_;
  return result;
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

bool RegexParser::number(std::uint32_t& value) {
  const std::size_t begin = at_;
  std::uint64_t read = 0;
  for (; !at_end() && peek() >= '0' && peek() <= '9'; ++at_)
    read = std::min<std::uint64_t>(read * 10 + static_cast<std::uint64_t>(peek() - '0'), kUnbounded - 1);
  value = static_cast<std::uint32_t>(read);
  return at_ > begin;
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
