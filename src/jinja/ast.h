#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "jinja/value.h"

namespace concertina::jinja {

struct Expression;
using ExpressionPtr = std::unique_ptr<Expression>;

struct CallArguments {
  std::vector<ExpressionPtr> positional;
  std::vector<std::pair<std::string, ExpressionPtr>> keyword;
};

enum class BinaryOperator { kAdd, kSubtract, kMultiply, kDivide, kFloorDivide, kModulo, kPower, kConcat };
enum class UnaryOperator { kNot, kMinus, kPlus };
enum class LogicOperator { kAnd, kOr };
enum class CompareOperator { kEqual, kNotEqual, kLess, kLessEqual, kGreater, kGreaterEqual, kIn, kNotIn };
enum class Expect { kTrue, kFalse };

struct LiteralNode {
  Value value;
};
struct NameNode {
  std::string name;
};
struct ListNode {
  std::vector<ExpressionPtr> items;
  SequenceKind kind = SequenceKind::kList;
};
struct DictNode {
  std::vector<std::pair<ExpressionPtr, ExpressionPtr>> entries;
};
struct AttributeNode {
  ExpressionPtr object;
  std::string name;
};
struct SubscriptNode {
  ExpressionPtr object, index;
};
struct SliceNode {
  ExpressionPtr object, start, stop, step;
};  // the last three may be null
struct CallNode {
  ExpressionPtr callee;
  CallArguments arguments;
};
struct FilterNode {
  ExpressionPtr subject;
  std::string name;
  CallArguments arguments;
};
struct TestNode {
  ExpressionPtr subject;
  std::string name;
  CallArguments arguments;
  Expect expect;
};
struct UnaryNode {
  UnaryOperator op;
  ExpressionPtr operand;
};
struct BinaryNode {
  BinaryOperator op;
  ExpressionPtr left, right;
};
struct LogicNode {
  LogicOperator op;
  ExpressionPtr left, right;
};
struct CompareNode {
  ExpressionPtr first;
  std::vector<std::pair<CompareOperator, ExpressionPtr>> rest;
};
struct ConditionalNode {
  ExpressionPtr condition, then, otherwise;
};  // `otherwise` may be null

struct Expression {
  int line;
  std::variant<LiteralNode, NameNode, ListNode, DictNode, AttributeNode, SubscriptNode, SliceNode, CallNode,
               FilterNode, TestNode, UnaryNode, BinaryNode, LogicNode, CompareNode, ConditionalNode>
      node;
};
template <typename Node>
ExpressionPtr make_expression(int line, Node node) {
  return std::make_unique<Expression>(Expression{line, std::move(node)});
}

struct Statement;
using Body = std::vector<Statement>;

struct Target {
  std::string name, attribute;  // attribute: of a namespace; empty: none
};
struct FilterCall {
  std::string name;
  CallArguments arguments;
};
struct Parameter {
  std::string name;
  ExpressionPtr fallback;  // null: none
};

struct TextStatement {
  std::string text;
};
struct OutputStatement {
  ExpressionPtr value;
};
struct SetStatement {
  std::vector<Target> targets;
  ExpressionPtr value;
};
struct SetBlockStatement {
  Target target;
  std::vector<FilterCall> filters;
  Body body;
};
struct ForStatement {
  std::vector<std::string> targets;
  ExpressionPtr iterable, condition;  // condition may be null
  Body body, otherwise;
};
struct IfStatement {
  std::vector<std::pair<ExpressionPtr, Body>> branches;
  Body otherwise;
};
struct MacroStatement {
  std::string name;
  std::vector<Parameter> parameters;
  Body body;
};
struct FilterStatement {
  std::vector<FilterCall> filters;
  Body body;
};
struct BreakStatement {};
struct ContinueStatement {};

struct Statement {
  int line;
  std::variant<TextStatement, OutputStatement, SetStatement, SetBlockStatement, ForStatement, IfStatement,
               MacroStatement, FilterStatement, BreakStatement, ContinueStatement>
      node;
};

}  // namespace concertina::jinja
