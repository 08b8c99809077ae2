#include "grammar/expression_parser.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/utf8.h"
#include "grammar/limits.h"

namespace concertina::grammar {

tl::unexpected<Error> ExpressionParser::invalid(std::string_view what) const {
  return fail(GrammarError::kInvalid, fmt::format("at byte {}: {}", at_, what));
}

bool ExpressionParser::take(std::string_view expected) {
  if (text_.substr(at_, expected.size()) != expected) return false;
  at_ += expected.size();
  return true;
}

char32_t ExpressionParser::take_character() {
  const Utf8Unit unit = next_utf8(text_.substr(at_));
  at_ += unit.length;
  return unit.code_point;
}

Result<Expression> ExpressionParser::alternation() {
  if (++depth_ > kMaxDepth)
    return fail(GrammarError::kTooLarge,
                fmt::format("at byte {}: groups are nested deeper than {}", at_, kMaxDepth));
  Expression result{.kind = Expression::Kind::kAlternation};
  do {
    ASSIGN_OR_RETURN(Expression part, sequence());
    result.parts.push_back(std::move(part));
  } while (take("|"));
  --depth_;
  return result;
}

bool ExpressionParser::number(std::uint32_t& value) {
  const std::size_t begin = at_;
  std::uint64_t read = 0;
  for (; !at_end() && peek() >= '0' && peek() <= '9'; ++at_)
    read = std::min<std::uint64_t>(read * 10 + static_cast<std::uint64_t>(peek() - '0'), kUnbounded - 1);
  value = static_cast<std::uint32_t>(read);
  return at_ > begin;
}

Result<char32_t> ExpressionParser::hexadecimal(std::size_t n_digits) {
  char32_t value = 0;
  for (std::size_t i = 0; i < n_digits; ++i, ++at_) {
    const char c = peek();
    const int digit = c >= '0' && c <= '9'                 ? c - '0'
                      : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10
                                                           : -1;
    if (digit < 0) return invalid(fmt::format("{} hexadecimal digits expected", n_digits));
    value = value * 16 + static_cast<char32_t>(digit);
  }
  return value;
}

}  // namespace concertina::grammar
