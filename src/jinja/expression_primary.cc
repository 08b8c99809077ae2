// What binds most: literals, names, parentheses, and what stands behind a value.
#include <fmt/format.h>

#include <charconv>

#include "jinja/expression_parser.h"

namespace concertina::jinja {

Result<ExpressionPtr> ExpressionParser::parse_primary() {
  const int line = tokens_.peek().line;
  if (tokens_.at(TokenKind::kString)) return parse_string();
  if (tokens_.at(TokenKind::kInteger) || tokens_.at(TokenKind::kFloat)) return parse_number();
  if (tokens_.at_operator("(")) return parse_parenthesis();
  if (tokens_.at_operator("[")) return parse_list();
  if (tokens_.at_operator("{")) return parse_dict();
  if (!tokens_.at(TokenKind::kName)) return tokens_.unexpected("an expression");
  const std::string name = tokens_.next().text;
  if (name == "true" || name == "True") return make_expression(line, LiteralNode{Value(true)});
  if (name == "false" || name == "False") return make_expression(line, LiteralNode{Value(false)});
  if (name == "none" || name == "None") return make_expression(line, LiteralNode{Value(None{})});
  return make_expression(line, NameNode{name});
}

Result<ExpressionPtr> ExpressionParser::parse_string() {
  const int line = tokens_.peek().line;
  std::string text;
  while (tokens_.at(TokenKind::kString))
    text += tokens_.next().text;  // neighbours are one string, as in Python
  return make_expression(line, LiteralNode{Value(std::move(text))});
}

Result<ExpressionPtr> ExpressionParser::parse_number() {
  const Token token = tokens_.peek();
  const char* end = token.text.data() + token.text.size();
  std::int64_t integer = 0;
  double number = 0;
  const bool is_float = token.kind == TokenKind::kFloat;
  const auto parsed = is_float ? std::from_chars(token.text.data(), end, number)
                               : std::from_chars(token.text.data(), end, integer);
  if (parsed.ec != std::errc() || parsed.ptr != end) return tokens_.unexpected("a number of 64 bits");
  tokens_.next();
  return make_expression(token.line, LiteralNode{is_float ? Value(number) : Value(integer)});
}

Result<ExpressionPtr> ExpressionParser::parse_parenthesis() {
  const int line = tokens_.next().line;
  if (tokens_.accept_operator(")")) return make_expression(line, ListNode{{}, SequenceKind::kTuple});
  ASSIGN_OR_RETURN(ExpressionPtr inner, parse_tuple());
  RETURN_IF_ERROR(tokens_.expect_operator(")"));
  return inner;
}

Result<ExpressionPtr> ExpressionParser::parse_list() {
  const int line = tokens_.next().line;
  ListNode list;
  while (!tokens_.at_operator("]")) {
    ASSIGN_OR_RETURN(ExpressionPtr item, parse());
    list.items.push_back(std::move(item));
    if (!tokens_.accept_operator(",")) break;
  }
  RETURN_IF_ERROR(tokens_.expect_operator("]"));
  return make_expression(line, std::move(list));
}

Result<ExpressionPtr> ExpressionParser::parse_dict() {
  const int line = tokens_.next().line;
  DictNode dict;
  while (!tokens_.at_operator("}")) {
    ASSIGN_OR_RETURN(ExpressionPtr key, parse());
    RETURN_IF_ERROR(tokens_.expect_operator(":"));
    ASSIGN_OR_RETURN(ExpressionPtr value, parse());
    dict.entries.emplace_back(std::move(key), std::move(value));
    if (!tokens_.accept_operator(",")) break;
  }
  RETURN_IF_ERROR(tokens_.expect_operator("}"));
  return make_expression(line, std::move(dict));
}

Result<ExpressionPtr> ExpressionParser::parse_postfix(ExpressionPtr object) {
  while (true) {
    const int line = tokens_.peek().line;
    const bool call = tokens_.at_operator("("), dot = tokens_.at_operator("."),
               bracket = tokens_.at_operator("[");
    if (!call && !dot && !bracket) return object;
    RETURN_IF_ERROR(tokens_.link());
    if (call) {
      ASSIGN_OR_RETURN(CallArguments arguments, parse_arguments());
      object = make_expression(line, CallNode{std::move(object), std::move(arguments)});
    } else {
      ASSIGN_OR_RETURN(object, dot ? parse_attribute(std::move(object)) : parse_subscript(std::move(object)));
    }
  }
}

Result<ExpressionPtr> ExpressionParser::parse_attribute(ExpressionPtr object) {
  const int line = tokens_.next().line;
  if (tokens_.at(TokenKind::kInteger)) {  // items.0 is items[0]
    ASSIGN_OR_RETURN(ExpressionPtr index, parse_number());
    return make_expression(line, SubscriptNode{std::move(object), std::move(index)});
  }
  ASSIGN_OR_RETURN(std::string name, tokens_.name("a name after the \".\""));
  return make_expression(line, AttributeNode{std::move(object), std::move(name)});
}

Result<ExpressionPtr> ExpressionParser::parse_subscript(ExpressionPtr object) {
  const int line = tokens_.next().line;
  ExpressionPtr parts[3];
  int n = 0;
  bool slice = false;
  while (!tokens_.at_operator("]")) {
    if (tokens_.accept_operator(":")) {
      slice = true;
      if (++n == 3) return tokens_.error("a slice has at most three parts");
    } else if (parts[n] == nullptr) {
      ASSIGN_OR_RETURN(parts[n], parse());
    } else {
      return tokens_.unexpected("\"]\"");
    }
  }
  tokens_.next();
  if (slice)
    return make_expression(
        line, SliceNode{std::move(object), std::move(parts[0]), std::move(parts[1]), std::move(parts[2])});
  if (parts[0] == nullptr) return tokens_.error("expected an index between the brackets");
  return make_expression(line, SubscriptNode{std::move(object), std::move(parts[0])});
}

Result<CallArguments> ExpressionParser::parse_arguments() {
  RETURN_IF_ERROR(tokens_.expect_operator("("));
  CallArguments arguments;
  while (!tokens_.at_operator(")")) {
    const Token& after = tokens_.peek(1);
    const bool keyword =
        tokens_.at(TokenKind::kName) && after.kind == TokenKind::kOperator && after.text == "=";
    if (keyword) {
      std::string name = tokens_.next().text;
      tokens_.next();
      ASSIGN_OR_RETURN(ExpressionPtr value, parse());
      arguments.keyword.emplace_back(std::move(name), std::move(value));
    } else {
      if (!arguments.keyword.empty()) return tokens_.error("a positional argument after a named one");
      ASSIGN_OR_RETURN(ExpressionPtr value, parse());
      arguments.positional.push_back(std::move(value));
    }
    if (!tokens_.accept_operator(",")) break;
  }
  RETURN_IF_ERROR(tokens_.expect_operator(")"));
  return arguments;
}

Result<FilterCall> ExpressionParser::parse_filter_call() {
  FilterCall filter;
  ASSIGN_OR_RETURN(filter.name, tokens_.name("a filter's name"));
  if (tokens_.at_operator("(")) {
    ASSIGN_OR_RETURN(filter.arguments, parse_arguments());
  }
  return filter;
}

Result<ExpressionPtr> ExpressionParser::parse_filters_and_tests(ExpressionPtr subject) {
  while (true) {
    const int line = tokens_.peek().line;
    const bool call = tokens_.at_operator("("), filter = tokens_.at_operator("|"),
               test = tokens_.at_name("is");
    if (!call && !filter && !test) return subject;
    RETURN_IF_ERROR(tokens_.link());
    if (call) {
      ASSIGN_OR_RETURN(CallArguments arguments, parse_arguments());
      subject = make_expression(line, CallNode{std::move(subject), std::move(arguments)});
      continue;
    }
    tokens_.next();
    if (filter) {
      ASSIGN_OR_RETURN(FilterCall applied, parse_filter_call());
      subject = make_expression(
          line, FilterNode{std::move(subject), std::move(applied.name), std::move(applied.arguments)});
    } else {
      ASSIGN_OR_RETURN(subject, parse_test(std::move(subject)));
    }
  }
}

// "is" has been read. A test's one argument may stand without parentheses.
Result<ExpressionPtr> ExpressionParser::parse_test(ExpressionPtr subject) {
  const int line = tokens_.peek().line;
  const Expect expect = tokens_.accept_name("not") ? Expect::kFalse : Expect::kTrue;
  ASSIGN_OR_RETURN(std::string name, tokens_.name("a test's name"));
  CallArguments arguments;
  const Token& next = tokens_.peek();
  const bool word = next.kind == TokenKind::kName && next.text != "else" && next.text != "or" &&
                    next.text != "and" && next.text != "is" && next.text != "if" && next.text != "in" &&
                    next.text != "not";
  const bool literal = next.kind == TokenKind::kString || next.kind == TokenKind::kInteger ||
                       next.kind == TokenKind::kFloat || tokens_.at_operator("[") || tokens_.at_operator("{");
  if (tokens_.at_operator("(")) {
    ASSIGN_OR_RETURN(arguments, parse_arguments());
  } else if (word || literal) {
    ASSIGN_OR_RETURN(ExpressionPtr argument, parse_primary());
    ASSIGN_OR_RETURN(argument, parse_postfix(std::move(argument)));
    arguments.positional.push_back(std::move(argument));
  }
  return make_expression(line, TestNode{std::move(subject), std::move(name), std::move(arguments), expect});
}

}  // namespace concertina::jinja
