#pragma once

#include <string_view>

#include "base/result.h"
#include "grammar/expression.h"

namespace concertina::grammar {

// Recursive descent. One text, once.
class RegexParser {
 public:
  explicit RegexParser(std::string_view text) : text_(text) {}
  Result<Expression> parse();

 private:
  Result<Expression> alternation();
  Result<Expression> sequence();
  Result<Expression> quantified();
  Result<Expression> atom();
  Result<Expression> group();
  Result<CodePoints> escape();
  Result<CodePoints> character_class();
  Result<CodePoints> class_item();
  Result<char32_t> hexadecimal(std::size_t n_digits);
  Result<char32_t> unicode_escape();
  Status braces(std::uint32_t& least, std::uint32_t& most);
  bool number(std::uint32_t& value);

  bool at_end() const { return at_ == text_.size(); }
  char peek() const { return at_end() ? '\0' : text_[at_]; }
  bool take(std::string_view expected);
  char32_t take_character();
  tl::unexpected<Error> refuse(std::string_view what) const;   // kUnsupported
  tl::unexpected<Error> invalid(std::string_view what) const;  // kInvalid

  std::string_view text_;
  std::size_t at_ = 0;
  std::size_t depth_ = 0;
};

CodePoints digits();
CodePoints word_characters();
CodePoints white_space();

}  // namespace concertina::grammar
