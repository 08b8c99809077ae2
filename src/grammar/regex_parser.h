#pragma once

#include <string_view>

#include "base/result.h"
#include "grammar/expression_parser.h"

namespace concertina::grammar {

class RegexParser : ExpressionParser {
 public:
  explicit RegexParser(std::string_view text) : ExpressionParser(text) {}
  Result<Expression> parse();

 private:
  Result<Expression> sequence() override;
  Result<Expression> quantified();
  Result<Expression> atom();
  Result<Expression> group();
  Result<CodePoints> escape();
  Result<CodePoints> character_class();
  Result<CodePoints> class_item();
  Result<char32_t> unicode_escape();
  Status braces(std::uint32_t& least, std::uint32_t& most);

  tl::unexpected<Error> refuse(std::string_view what) const;  // kUnsupported
};

CodePoints digits();
CodePoints word_characters();
CodePoints white_space();

}  // namespace concertina::grammar
