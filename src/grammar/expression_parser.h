#pragma once

#include <string_view>

#include "base/result.h"
#include "grammar/error.h"
#include "grammar/expression.h"

namespace concertina::grammar {

// What the parsers of regular expressions and of EBNF have in common. Recursive descent. One text, once.
class ExpressionParser {
 protected:
  explicit ExpressionParser(std::string_view text) : text_(text) {}
  ~ExpressionParser() = default;

  virtual Result<Expression> sequence() = 0;
  Result<Expression> alternation();  // of sequences; kTooLarge: more than kMaxDepth within one another

  bool at_end() const { return at_ == text_.size(); }
  char peek() const { return at_end() ? '\0' : text_[at_]; }
  bool take(std::string_view expected);
  char32_t take_character();
  Result<char32_t> hexadecimal(std::size_t n_digits);
  bool number(std::uint32_t& value);                           // at most kUnbounded - 1
  tl::unexpected<Error> invalid(std::string_view what) const;  // kInvalid

  std::string_view text_;
  std::size_t at_ = 0;

 private:
  std::size_t depth_ = 0;
};

}  // namespace concertina::grammar
