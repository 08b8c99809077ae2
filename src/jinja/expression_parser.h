#pragma once

#include "jinja/ast.h"
#include "jinja/token_stream.h"

namespace concertina::jinja {

enum class InlineIf { kAllowed, kNot };  // not: the "if" after a for loop's list is the loop's

// Jinja's expression grammar, lowest binding first:
// inline if, or, and, not, comparisons, + -, ~, * / // %, **, unary + -, then . [] () | is.
class ExpressionParser {
 public:
  explicit ExpressionParser(TokenStream& tokens) : tokens_(tokens) {}

  Result<ExpressionPtr> parse(InlineIf inline_if = InlineIf::kAllowed);
  Result<ExpressionPtr> parse_tuple(InlineIf inline_if = InlineIf::kAllowed);  // a, b is a tuple
  Result<CallArguments> parse_arguments();                                     // from the "(" on
  Result<FilterCall> parse_filter_call();                                      // a name, and arguments if any

 private:
  using Parse = Result<ExpressionPtr> (ExpressionParser::*)();
  Result<ExpressionPtr> parse_conditional();
  Result<ExpressionPtr> parse_or();
  Result<ExpressionPtr> parse_and();
  Result<ExpressionPtr> parse_not();
  Result<ExpressionPtr> parse_compare();
  Result<ExpressionPtr> parse_sum();
  Result<ExpressionPtr> parse_concat();
  Result<ExpressionPtr> parse_product();
  Result<ExpressionPtr> parse_power();
  Result<ExpressionPtr> parse_unary();
  Result<ExpressionPtr> parse_signed();
  Result<ExpressionPtr> parse_primary();
  Result<ExpressionPtr> parse_string();
  Result<ExpressionPtr> parse_number();
  Result<ExpressionPtr> parse_list();
  Result<ExpressionPtr> parse_dict();
  Result<ExpressionPtr> parse_parenthesis();
  Result<ExpressionPtr> parse_postfix(ExpressionPtr object);
  Result<ExpressionPtr> parse_attribute(ExpressionPtr object);
  Result<ExpressionPtr> parse_subscript(ExpressionPtr object);
  Result<ExpressionPtr> parse_filters_and_tests(ExpressionPtr subject);
  Result<ExpressionPtr> parse_test(ExpressionPtr subject);
  Result<ExpressionPtr> parse_logic(Parse operand, std::string_view word, LogicOperator op);
  Result<ExpressionPtr> parse_binary(Parse operand,
                                     const std::vector<std::pair<std::string_view, BinaryOperator>>& ops);
  std::optional<CompareOperator> accept_comparison();

  TokenStream& tokens_;
};

}  // namespace concertina::jinja
