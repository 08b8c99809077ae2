#pragma once

#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

#include "base/result.h"
#include "grammar/expression.h"

namespace concertina::grammar {

// Recursive descent. One source, once.
class EbnfParser {
 public:
  EbnfParser(RuleSet& rules, std::string_view source) : rules_(rules), text_(source) {}
  Status parse();

 private:
  Status rule();
  Result<Expression> alternation();
  Result<Expression> sequence();
  Result<Expression> quantified();
  Result<Expression> atom();
  Result<Expression> literal();
  Result<Expression> character_class();
  Result<char32_t> character();
  Result<Expression> repeated(Expression part);
  Status braces(std::uint32_t& least, std::uint32_t& most);
  bool number(std::uint32_t& value);

  void skip_blanks();  // and comments, and ends of lines
  std::string_view name();
  bool begins_rule();  // at a name and ::=
  RuleIndex index_of(std::string_view name);
  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  bool take(std::string_view expected);
  tl::unexpected<Error> invalid(std::string_view what) const;

  RuleSet& rules_;
  std::string_view text_;
  std::size_t at_ = 0;
  std::size_t depth_ = 0;
  std::unordered_map<std::string, RuleIndex> indices_;
  std::unordered_set<RuleIndex> defined_;
};

}  // namespace concertina::grammar
