#include "jinja/evaluator.h"

#include <fmt/format.h>

#include <algorithm>

#include "jinja/builtins.h"
#include "jinja/error.h"
#include "jinja/interpreter.h"
#include "jinja/operators.h"

namespace concertina::jinja {

namespace {

constexpr int kMaxDepth = 700;  // of expressions, blocks and macro calls within each other

std::size_t weight_of(const Arguments& arguments) {
  std::size_t sum = 0;
  for (const Value& value : arguments.positional) sum += std::min(value.weight(), kMaxSteps);
  for (const auto& [name, value] : arguments.keyword) sum += std::min(value.weight(), kMaxSteps);
  return sum;
}

std::size_t filter_cost(FilterCost cost, const Value& subject, const Arguments& arguments) {
  if (cost == FilterCost::kConstant) return subject.is_text() ? items_of(subject) : 0;
  if (cost == FilterCost::kSquare)
    return std::min(items_of(subject), kMaxSteps) * std::min(items_of(subject), kMaxSteps);
  return (cost == FilterCost::kItems ? items_of(subject) : std::min(subject.weight(), kMaxSteps)) +
         weight_of(arguments);
}

std::size_t call_cost(const Function& function, const Arguments& arguments) {
  if (function.cost == Function::Cost::kConstant) return 0;
  return function.n_items + (function.cost == Function::Cost::kArguments ? weight_of(arguments) : 0);
}

std::size_t test_cost(const Value& subject, const Arguments& arguments) {
  return arguments.positional.empty() ? (subject.is_text() ? items_of(subject) : 0) : weight_of(arguments);
}

std::size_t binary_cost(BinaryOperator op, const Value& left, const Value& right) {
  if (op != BinaryOperator::kConcat) return items_of(left) + items_of(right);
  return std::min(left.weight(), kMaxSteps) + std::min(right.weight(), kMaxSteps);
}

// Two values are compared as far as the smaller goes; one is looked for in all of a list.
std::size_t compare_cost(CompareOperator op, const Value& left, const Value& right) {
  const std::size_t smaller = std::min({left.weight(), right.weight(), kMaxSteps});
  if (op != CompareOperator::kIn && op != CompareOperator::kNotIn) return smaller;
  if (right.is_list()) return std::min(right.weight(), right.as_list().size() * smaller);
  return right.is_text() ? items_of(right) : 0;
}

}  // namespace

std::size_t items_of(const Value& value) {
  if (value.is_text()) return value.as_text().size() / Value::kBytesOfAStep;
  if (value.is_dict()) return value.as_dict().entries().size();
  return value.is_list() ? value.as_list().size() : 0;
}

Status Budget::enter() {
  if (++depth_ > kMaxDepth) return template_error(fmt::format("nested more than {} deep", kMaxDepth));
  return spend(1);
}

Status Budget::spend(std::size_t n_steps) {
  if (__builtin_add_overflow(n_steps_, n_steps, &n_steps_) || n_steps_ > max_steps_)
    return fail(JinjaError::kTooLong,
                fmt::format("took more than {} steps: too many messages, or too long", max_steps_));
  return {};
}

tl::unexpected<Error> at_line(int line, const Error& error) {
  if (error.message().starts_with("line ")) return fail(error);
  return fail(error.with_context(fmt::format("line {}", line)));
}

Evaluator::Evaluator(const std::tm& now, Budget& budget) : globals_(make_globals(now)), budget_(budget) {}

Value Evaluator::look_up(const std::string& name, const Scope& scope) const {
  for (const Scope* s = &scope; s != nullptr; s = s->outer) {
    if (const Value* value = s->variables.find(name)) return *value;
  }
  const Value* value = globals_.find(name);
  return value != nullptr ? *value : Value(Undefined{name});
}

Result<Value> Evaluator::evaluate(const Expression& expression, const Scope& scope) {
  if (const Status entered = budget_.enter(); !entered) return at_line(expression.line, entered.error());
  auto value = std::visit([&](const auto& node) { return evaluate_node(node, scope); }, expression.node);
  budget_.leave();
  if (!value) return at_line(expression.line, value.error());
  return value;
}

Result<Arguments> Evaluator::evaluate(const CallArguments& call, const Scope& scope) {
  Arguments arguments;
  for (const ExpressionPtr& argument : call.positional) {
    ASSIGN_OR_RETURN(Value value, evaluate(*argument, scope));
    arguments.positional.push_back(std::move(value));
  }
  for (const auto& [name, argument] : call.keyword) {
    ASSIGN_OR_RETURN(Value value, evaluate(*argument, scope));
    arguments.keyword.emplace_back(name, std::move(value));
  }
  return arguments;
}

Result<Value> Evaluator::evaluate_node(const LiteralNode& node, const Scope&) { return node.value; }
Result<Value> Evaluator::evaluate_node(const NameNode& node, const Scope& scope) {
  return look_up(node.name, scope);
}

Result<Value> Evaluator::evaluate_node(const ListNode& node, const Scope& scope) {
  List items;
  for (const ExpressionPtr& item : node.items) {
    ASSIGN_OR_RETURN(Value value, evaluate(*item, scope));
    items.push_back(std::move(value));
  }
  return Value::list(std::move(items), node.kind);
}

Result<Value> Evaluator::evaluate_node(const DictNode& node, const Scope& scope) {
  Dict dict;
  for (const auto& [key_expression, value_expression] : node.entries) {
    ASSIGN_OR_RETURN(const Value key, evaluate(*key_expression, scope));
    if (!key.is_text())
      return template_error(fmt::format("a key must be a string, found a {}", key.type_name()));
    ASSIGN_OR_RETURN(Value value, evaluate(*value_expression, scope));
    dict.set(key.as_text(), std::move(value));
  }
  return Value::dict(std::move(dict));
}

Result<Value> Evaluator::evaluate_node(const AttributeNode& node, const Scope& scope) {
  ASSIGN_OR_RETURN(const Value object, evaluate(*node.object, scope));
  return attribute(object, node.name);
}

Result<Value> Evaluator::evaluate_node(const SubscriptNode& node, const Scope& scope) {
  ASSIGN_OR_RETURN(const Value object, evaluate(*node.object, scope));
  ASSIGN_OR_RETURN(const Value index, evaluate(*node.index, scope));
  if (object.is_text()) RETURN_IF_ERROR(budget_.spend(items_of(object)));
  return subscript(object, index);
}

Result<Value> Evaluator::evaluate_node(const SliceNode& node, const Scope& scope) {
  ASSIGN_OR_RETURN(const Value object, evaluate(*node.object, scope));
  Value bounds[3];
  const Expression* expressions[3] = {node.start.get(), node.stop.get(), node.step.get()};
  for (int i = 0; i < 3; ++i) {
    if (expressions[i] == nullptr) continue;
    ASSIGN_OR_RETURN(bounds[i], evaluate(*expressions[i], scope));
  }
  const auto bound = [&](int i) {
    return expressions[i] == nullptr || bounds[i].is_none() ? nullptr : &bounds[i];
  };
  RETURN_IF_ERROR(budget_.spend(items_of(object)));
  return slice(object, bound(0), bound(1), bound(2));
}

Result<Value> Evaluator::evaluate_node(const CallNode& node, const Scope& scope) {
  ASSIGN_OR_RETURN(const Value callee, evaluate(*node.callee, scope));
  if (callee.is_undefined())
    return template_error(fmt::format("'{}' is undefined", callee.as_undefined().name));
  if (!callee.is_function()) return template_error(fmt::format("a {} cannot be called", callee.type_name()));
  ASSIGN_OR_RETURN(const Arguments arguments, evaluate(node.arguments, scope));
  const std::size_t cost = call_cost(callee.as_function(), arguments);
  RETURN_IF_ERROR(budget_.spend(cost));
  ASSIGN_OR_RETURN(Value result, callee.as_function().call(arguments));
  if (callee.as_function().cost != Function::Cost::kConstant)
    RETURN_IF_ERROR(budget_.spend(items_of(result)));
  return result;
}

Result<Value> Evaluator::evaluate_node(const FilterNode& node, const Scope& scope) {
  ASSIGN_OR_RETURN(const Value subject, evaluate(*node.subject, scope));
  ASSIGN_OR_RETURN(const Arguments arguments, evaluate(node.arguments, scope));
  const FilterCost cost = cost_of_filter(node.name);
  RETURN_IF_ERROR(budget_.spend(filter_cost(cost, subject, arguments)));
  ASSIGN_OR_RETURN(Value result, apply_filter(node.name, subject, arguments));
  if (cost != FilterCost::kConstant) RETURN_IF_ERROR(budget_.spend(items_of(result)));
  return result;
}

Result<Value> Evaluator::evaluate_node(const TestNode& node, const Scope& scope) {
  ASSIGN_OR_RETURN(const Value subject, evaluate(*node.subject, scope));
  ASSIGN_OR_RETURN(const Arguments arguments, evaluate(node.arguments, scope));
  RETURN_IF_ERROR(budget_.spend(test_cost(subject, arguments)));
  ASSIGN_OR_RETURN(const bool result, apply_test(node.name, subject, arguments));
  return Value(result == (node.expect == Expect::kTrue));
}

Result<Value> Evaluator::evaluate_node(const UnaryNode& node, const Scope& scope) {
  ASSIGN_OR_RETURN(const Value operand, evaluate(*node.operand, scope));
  return apply_unary(node.op, operand);
}

Result<Value> Evaluator::evaluate_node(const BinaryNode& node, const Scope& scope) {
  ASSIGN_OR_RETURN(const Value left, evaluate(*node.left, scope));
  ASSIGN_OR_RETURN(const Value right, evaluate(*node.right, scope));
  RETURN_IF_ERROR(budget_.spend(binary_cost(node.op, left, right)));
  ASSIGN_OR_RETURN(Value result, apply_binary(node.op, left, right));
  RETURN_IF_ERROR(budget_.spend(items_of(result)));
  return result;
}

Result<Value> Evaluator::evaluate_node(const LogicNode& node, const Scope& scope) {
  ASSIGN_OR_RETURN(Value left, evaluate(*node.left, scope));
  if (left.truth() == (node.op == LogicOperator::kOr)) return left;
  return evaluate(*node.right, scope);
}

Result<Value> Evaluator::evaluate_node(const CompareNode& node, const Scope& scope) {
  ASSIGN_OR_RETURN(Value left, evaluate(*node.first, scope));
  for (const auto& [op, expression] : node.rest) {
    ASSIGN_OR_RETURN(Value right, evaluate(*expression, scope));
    RETURN_IF_ERROR(budget_.spend(compare_cost(op, left, right)));
    ASSIGN_OR_RETURN(const bool holds, apply_compare(op, left, right));
    if (!holds) return Value(false);
    left = std::move(right);
  }
  return Value(true);
}

Result<Value> Evaluator::evaluate_node(const ConditionalNode& node, const Scope& scope) {
  ASSIGN_OR_RETURN(const Value condition, evaluate(*node.condition, scope));
  if (condition.truth()) return evaluate(*node.then, scope);
  if (node.otherwise == nullptr) return Value(Undefined{"the inline if without an else"});
  return evaluate(*node.otherwise, scope);
}

}  // namespace concertina::jinja
