#pragma once

#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

#include "base/result.h"
#include "grammar/expression_parser.h"

namespace concertina::grammar {

class EbnfParser : ExpressionParser {
 public:
  EbnfParser(RuleSet& rules, std::string_view source) : ExpressionParser(source), rules_(rules) {}
  Status parse();

 private:
  Status rule();
  Result<Expression> sequence() override;
  Result<Expression> quantified();
  Result<Expression> atom();
  Result<Expression> literal();
  Result<Expression> character_class();
  Result<char32_t> character();
  Status braces(std::uint32_t& least, std::uint32_t& most);
  bool number_in_blanks(std::uint32_t& value);

  void skip_blanks();  // and comments, and ends of lines
  std::string_view name();
  bool begins_rule();  // at a name and ::=
  RuleIndex index_of(std::string_view name);

  RuleSet& rules_;
  std::unordered_map<std::string, RuleIndex> indices_;
  std::unordered_set<RuleIndex> defined_;
};

}  // namespace concertina::grammar
