#pragma once

#include <ctime>

#include "jinja/ast.h"

namespace concertina::jinja {

// The variables of the template, of one turn of a loop or of one macro call.
struct Scope {
  Dict variables;
  const Scope* outer = nullptr;
};

// What one rendering may use. Counts nesting (for the stack) and steps (for the time): each expression,
// statement and turn of a loop; what copies or walks through a value costs as many more as the value has
// items or weight. To name a value costs nothing: a template that mentions its messages in their own loop is
// not quadratic.
class Budget {
 public:
  explicit Budget(std::size_t max_steps) : max_steps_(max_steps) {}
  Status enter();
  void leave() { --depth_; }
  Status spend(std::size_t n_steps);

 private:
  const std::size_t max_steps_;
  int depth_ = 0;
  std::size_t n_steps_ = 0;
};

std::size_t items_of(const Value& value);  // what a shallow walk or copy costs

// An error without a line gets this one: the innermost thing that failed names its line first.
tl::unexpected<Error> at_line(int line, const Error& error);

// Evaluates expressions. One rendering, one thread.
class Evaluator {
 public:
  Evaluator(const std::tm& now, Budget& budget);

  Result<Value> evaluate(const Expression& expression, const Scope& scope);
  Result<Arguments> evaluate(const CallArguments& call, const Scope& scope);
  Value look_up(const std::string& name, const Scope& scope) const;  // undefined where there is none

 private:
  Result<Value> evaluate_node(const LiteralNode& node, const Scope& scope);
  Result<Value> evaluate_node(const NameNode& node, const Scope& scope);
  Result<Value> evaluate_node(const ListNode& node, const Scope& scope);
  Result<Value> evaluate_node(const DictNode& node, const Scope& scope);
  Result<Value> evaluate_node(const AttributeNode& node, const Scope& scope);
  Result<Value> evaluate_node(const SubscriptNode& node, const Scope& scope);
  Result<Value> evaluate_node(const SliceNode& node, const Scope& scope);
  Result<Value> evaluate_node(const CallNode& node, const Scope& scope);
  Result<Value> evaluate_node(const FilterNode& node, const Scope& scope);
  Result<Value> evaluate_node(const TestNode& node, const Scope& scope);
  Result<Value> evaluate_node(const UnaryNode& node, const Scope& scope);
  Result<Value> evaluate_node(const BinaryNode& node, const Scope& scope);
  Result<Value> evaluate_node(const LogicNode& node, const Scope& scope);
  Result<Value> evaluate_node(const CompareNode& node, const Scope& scope);
  Result<Value> evaluate_node(const ConditionalNode& node, const Scope& scope);

  const Dict globals_;
  Budget& budget_;
};

}  // namespace concertina::jinja
