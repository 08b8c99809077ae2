#include "jinja/expression_parser.h"

namespace concertina::jinja {

namespace {

// Counts one level of nesting for as long as it lives.
class Nesting {
 public:
  explicit Nesting(TokenStream& tokens) : tokens_(tokens), status_(tokens.enter()) {}
  ~Nesting() { tokens_.leave(); }
  const Status& status() const { return status_; }

 private:
  TokenStream& tokens_;
  Status status_;
};

}  // namespace

Result<ExpressionPtr> ExpressionParser::parse(InlineIf inline_if) {
  const Nesting nesting(tokens_);
  RETURN_IF_ERROR(nesting.status());
  return inline_if == InlineIf::kAllowed ? parse_conditional() : parse_or();
}

Result<ExpressionPtr> ExpressionParser::parse_tuple(InlineIf inline_if) {
  const int line = tokens_.peek().line;
  ASSIGN_OR_RETURN(ExpressionPtr first, parse(inline_if));
  if (!tokens_.at_operator(",")) return first;
  ListNode tuple{{}, SequenceKind::kTuple};
  tuple.items.push_back(std::move(first));
  while (tokens_.accept_operator(",")) {
    const bool ended =
        tokens_.at(TokenKind::kOutputEnd) || tokens_.at(TokenKind::kBlockEnd) || tokens_.at_operator(")");
    if (ended) break;
    ASSIGN_OR_RETURN(ExpressionPtr item, parse(inline_if));
    tuple.items.push_back(std::move(item));
  }
  return make_expression(line, std::move(tuple));
}

Result<ExpressionPtr> ExpressionParser::parse_conditional() {
  const int line = tokens_.peek().line;
  ASSIGN_OR_RETURN(ExpressionPtr value, parse_or());
  while (tokens_.accept_name("if")) {
    RETURN_IF_ERROR(tokens_.link());
    ASSIGN_OR_RETURN(ExpressionPtr condition, parse_or());
    ExpressionPtr otherwise;
    if (tokens_.accept_name("else")) {
      ASSIGN_OR_RETURN(otherwise, parse());
    }
    value =
        make_expression(line, ConditionalNode{std::move(condition), std::move(value), std::move(otherwise)});
  }
  return value;
}

Result<ExpressionPtr> ExpressionParser::parse_logic(Parse operand, std::string_view word, LogicOperator op) {
  const int line = tokens_.peek().line;
  ASSIGN_OR_RETURN(ExpressionPtr left, (this->*operand)());
  while (tokens_.accept_name(word)) {
    RETURN_IF_ERROR(tokens_.link());
    ASSIGN_OR_RETURN(ExpressionPtr right, (this->*operand)());
    left = make_expression(line, LogicNode{op, std::move(left), std::move(right)});
  }
  return left;
}

Result<ExpressionPtr> ExpressionParser::parse_or() {
  return parse_logic(&ExpressionParser::parse_and, "or", LogicOperator::kOr);
}

Result<ExpressionPtr> ExpressionParser::parse_and() {
  return parse_logic(&ExpressionParser::parse_not, "and", LogicOperator::kAnd);
}

Result<ExpressionPtr> ExpressionParser::parse_not() {
  const int line = tokens_.peek().line;
  if (!tokens_.accept_name("not")) return parse_compare();
  RETURN_IF_ERROR(tokens_.link());
  ASSIGN_OR_RETURN(ExpressionPtr operand, parse_not());
  return make_expression(line, UnaryNode{UnaryOperator::kNot, std::move(operand)});
}

std::optional<CompareOperator> ExpressionParser::accept_comparison() {
  static constexpr std::pair<std::string_view, CompareOperator> kOperators[] = {
      {"==", CompareOperator::kEqual},  {"!=", CompareOperator::kNotEqual},
      {"<", CompareOperator::kLess},    {"<=", CompareOperator::kLessEqual},
      {">", CompareOperator::kGreater}, {">=", CompareOperator::kGreaterEqual}};
  for (const auto& [text, op] : kOperators) {
    if (tokens_.accept_operator(text)) return op;
  }
  if (tokens_.accept_name("in")) return CompareOperator::kIn;
  const Token& after = tokens_.peek(1);
  if (!tokens_.at_name("not") || after.kind != TokenKind::kName || after.text != "in") return std::nullopt;
  tokens_.next();
  tokens_.next();
  return CompareOperator::kNotIn;
}

Result<ExpressionPtr> ExpressionParser::parse_compare() {
  const int line = tokens_.peek().line;
  ASSIGN_OR_RETURN(ExpressionPtr first, parse_sum());
  CompareNode node;
  while (const auto op = accept_comparison()) {
    ASSIGN_OR_RETURN(ExpressionPtr operand, parse_sum());
    node.rest.emplace_back(*op, std::move(operand));
  }
  if (node.rest.empty()) return first;
  node.first = std::move(first);
  return make_expression(line, std::move(node));
}

Result<ExpressionPtr> ExpressionParser::parse_binary(
    Parse operand, const std::vector<std::pair<std::string_view, BinaryOperator>>& ops) {
  ASSIGN_OR_RETURN(ExpressionPtr left, (this->*operand)());
  while (true) {
    const int line = tokens_.peek().line;
    std::optional<BinaryOperator> found;
    for (const auto& [text, op] : ops) {
      if (!found && tokens_.accept_operator(text)) found = op;
    }
    if (!found) return left;
    RETURN_IF_ERROR(tokens_.link());
    ASSIGN_OR_RETURN(ExpressionPtr right, (this->*operand)());
    left = make_expression(line, BinaryNode{*found, std::move(left), std::move(right)});
  }
}

Result<ExpressionPtr> ExpressionParser::parse_sum() {
  return parse_binary(&ExpressionParser::parse_concat,
                      {{"+", BinaryOperator::kAdd}, {"-", BinaryOperator::kSubtract}});
}

Result<ExpressionPtr> ExpressionParser::parse_concat() {
  return parse_binary(&ExpressionParser::parse_product, {{"~", BinaryOperator::kConcat}});
}

Result<ExpressionPtr> ExpressionParser::parse_product() {
  return parse_binary(&ExpressionParser::parse_power, {{"*", BinaryOperator::kMultiply},
                                                       {"/", BinaryOperator::kDivide},
                                                       {"//", BinaryOperator::kFloorDivide},
                                                       {"%", BinaryOperator::kModulo}});
}

Result<ExpressionPtr> ExpressionParser::parse_power() {
  return parse_binary(&ExpressionParser::parse_unary, {{"**", BinaryOperator::kPower}});
}

Result<ExpressionPtr> ExpressionParser::parse_unary() {
  ASSIGN_OR_RETURN(ExpressionPtr value, parse_signed());
  return parse_filters_and_tests(std::move(value));
}

Result<ExpressionPtr> ExpressionParser::parse_signed() {
  const int line = tokens_.peek().line;
  const bool minus = tokens_.at_operator("-");
  ExpressionPtr value;
  if (minus || tokens_.at_operator("+")) {
    tokens_.next();
    RETURN_IF_ERROR(tokens_.link());
    ASSIGN_OR_RETURN(value, parse_signed());
    value = make_expression(
        line, UnaryNode{minus ? UnaryOperator::kMinus : UnaryOperator::kPlus, std::move(value)});
  } else {
    ASSIGN_OR_RETURN(value, parse_primary());
  }
  return parse_postfix(std::move(value));
}

}  // namespace concertina::jinja
