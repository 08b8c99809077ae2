#include "jinja/interpreter.h"

#include <fmt/format.h>

#include <algorithm>

#include "jinja/builtins.h"
#include "jinja/error.h"
#include "jinja/evaluator.h"

namespace concertina::jinja {

namespace {

enum class Flow { kNext, kBreak, kContinue };

class Interpreter {
 public:
  Interpreter(Dict variables, const std::tm& now)
      : budget_(max_steps(variables)), evaluator_(now, budget_), root_{std::move(variables)} {}

  Result<std::string> run_template(const Body& body) {
    std::string out;
    ASSIGN_OR_RETURN([[maybe_unused]] const Flow flow, run(body, root_, out));
    return out;
  }

 private:
  // A message of one word weighs 3. Qwen3's template takes some 90 steps for it.
  static std::size_t max_steps(const Dict& variables) {
    constexpr std::size_t kSteps = 1'000'000, kStepsOfAWeight = 200;
    std::size_t weight = 0;
    for (const auto& [name, value] : variables.entries()) weight += std::min(value.weight(), kMaxSteps);
    return std::min(kSteps + weight * kStepsOfAWeight, kMaxSteps);
  }

  Result<Flow> run(const Body& body, Scope& scope, std::string& out) {
    for (const Statement& statement : body) {
      if (const Status entered = budget_.enter(); !entered) return at_line(statement.line, entered.error());
      auto flow = std::visit([&](const auto& node) { return run_node(node, scope, out); }, statement.node);
      budget_.leave();
      if (!flow) return at_line(statement.line, flow.error());
      if (out.size() > kMaxTextBytes) {
        return fail(JinjaError::kTooLong,
                    fmt::format("line {}: more than {} bytes of output", statement.line, kMaxTextBytes));
      }
      if (*flow != Flow::kNext) return *flow;
    }
    return Flow::kNext;
  }

  Result<Flow> run_node(const TextStatement& text, Scope&, std::string& out) {
    out += text.text;
    return Flow::kNext;
  }

  Result<Flow> run_node(const OutputStatement& output, Scope& scope, std::string& out) {
    ASSIGN_OR_RETURN(const Value value, evaluator_.evaluate(*output.value, scope));
    RETURN_IF_ERROR(budget_.spend(value.weight() - 1));
    if (value.is_text()) {
      out += value.as_text();
    } else {
      out += value.to_text();
    }
    return Flow::kNext;
  }

  Result<Flow> run_node(const SetStatement& set, Scope& scope, std::string&) {
    ASSIGN_OR_RETURN(const Value value, evaluator_.evaluate(*set.value, scope));
    if (set.targets.size() == 1) {
      RETURN_IF_ERROR(assign(set.targets[0], value, scope));
      return Flow::kNext;
    }
    ASSIGN_OR_RETURN(const List items, unpack(value, set.targets.size()));
    for (std::size_t i = 0; i < items.size(); ++i) RETURN_IF_ERROR(assign(set.targets[i], items[i], scope));
    return Flow::kNext;
  }

  Result<Flow> run_node(const SetBlockStatement& set, Scope& scope, std::string&) {
    std::string text;
    ASSIGN_OR_RETURN(const Flow flow, run(set.body, scope, text));
    ASSIGN_OR_RETURN(const Value value, apply_filters(set.filters, std::move(text), scope));
    RETURN_IF_ERROR(assign(set.target, value, scope));
    return flow;
  }

  Result<Flow> run_node(const FilterStatement& filter, Scope& scope, std::string& out) {
    std::string text;
    ASSIGN_OR_RETURN(const Flow flow, run(filter.body, scope, text));
    ASSIGN_OR_RETURN(const Value value, apply_filters(filter.filters, std::move(text), scope));
    out += value.to_text();
    return flow;
  }

  Result<Flow> run_node(const IfStatement& statement, Scope& scope, std::string& out) {
    for (const auto& [condition, body] : statement.branches) {
      ASSIGN_OR_RETURN(const Value value, evaluator_.evaluate(*condition, scope));
      if (value.truth()) return run(body, scope, out);
    }
    return run(statement.otherwise, scope, out);
  }

  Result<Flow> run_node(const BreakStatement&, Scope&, std::string&) { return Flow::kBreak; }
  Result<Flow> run_node(const ContinueStatement&, Scope&, std::string&) { return Flow::kContinue; }

  Result<Flow> run_node(const ForStatement& loop, Scope& scope, std::string& out) {
    ASSIGN_OR_RETURN(const Value iterable, loop_items(loop, scope));
    const List& items = iterable.as_list();
    if (items.empty()) return run(loop.otherwise, scope, out);
    for (std::size_t i = 0; i < items.size(); ++i) {
      Scope turn{{}, &scope};
      RETURN_IF_ERROR(bind_targets(loop, items[i], turn));
      ASSIGN_OR_RETURN(Value state, loop_state(items, i));
      turn.variables.set("loop", std::move(state));
      ASSIGN_OR_RETURN(const Flow flow, run(loop.body, turn, out));
      if (flow == Flow::kBreak) break;
    }
    return Flow::kNext;
  }

  // What the loop goes over: its list, less what its own "if" leaves out.
  Result<Value> loop_items(const ForStatement& loop, Scope& scope) {
    ASSIGN_OR_RETURN(Value iterable, evaluator_.evaluate(*loop.iterable, scope));
    if (!iterable.is_list()) {
      RETURN_IF_ERROR(budget_.spend(items_of(iterable)));
      ASSIGN_OR_RETURN(List items, iterate(iterable));
      ASSIGN_OR_RETURN(iterable, Value::list(std::move(items)));
    }
    if (loop.condition == nullptr) return iterable;
    List kept;
    for (const Value& item : iterable.as_list()) {
      Scope turn{{}, &scope};
      RETURN_IF_ERROR(bind_targets(loop, item, turn));
      ASSIGN_OR_RETURN(const Value keep, evaluator_.evaluate(*loop.condition, turn));
      if (keep.truth()) kept.push_back(item);
    }
    return Value::list(std::move(kept));
  }

  // A turn costs more than a step: it has a scope and a "loop" of its own.
  Status bind_targets(const ForStatement& loop, const Value& item, Scope& turn) {
    constexpr std::size_t kStepsOfATurn = 5;
    RETURN_IF_ERROR(budget_.spend(kStepsOfATurn));
    if (loop.targets.size() == 1) {
      turn.variables.set(loop.targets[0], item);
      return {};
    }
    ASSIGN_OR_RETURN(const List parts, unpack(item, loop.targets.size()));
    for (std::size_t i = 0; i < parts.size(); ++i) turn.variables.set(loop.targets[i], parts[i]);
    return {};
  }

  static Result<Value> loop_state(const List& items, std::size_t i) {
    const auto index = static_cast<std::int64_t>(i), n = static_cast<std::int64_t>(items.size());
    Dict state;
    state.reserve(9);
    state.append_new("index", Value(index + 1));
    state.append_new("index0", Value(index));
    state.append_new("first", Value(index == 0));
    state.append_new("last", Value(index + 1 == n));
    state.append_new("length", Value(n));
    state.append_new("revindex", Value(n - index));
    state.append_new("revindex0", Value(n - index - 1));
    if (i > 0) state.append_new("previtem", items[i - 1]);
    if (i + 1 < items.size()) state.append_new("nextitem", items[i + 1]);
    return Value::dict(std::move(state));
  }

  Result<Flow> run_node(const MacroStatement& macro, Scope& scope, std::string&) {
    const auto call = [this, &macro](const Arguments& arguments) { return call_macro(macro, arguments); };
    scope.variables.set(macro.name, Value(Function{macro.name, call}));
    return Flow::kNext;
  }

  // A macro sees its parameters and the template's variables, not those of where it is called.
  Result<Value> call_macro(const MacroStatement& macro, const Arguments& arguments) {
    std::vector<std::string_view> names;
    for (const Parameter& parameter : macro.parameters) names.push_back(parameter.name);
    RETURN_IF_ERROR(arguments.check(macro.name, names));
    Scope scope{{}, &root_};
    for (std::size_t i = 0; i < names.size(); ++i) {
      const Value* given = arguments.get(i, names[i]);
      Value value = given != nullptr ? *given : Value(Undefined{std::string(names[i])});
      if (given == nullptr && macro.parameters[i].fallback != nullptr) {
        ASSIGN_OR_RETURN(value, evaluator_.evaluate(*macro.parameters[i].fallback, scope));
      }
      scope.variables.set(names[i], std::move(value));
    }
    std::string out;
    ASSIGN_OR_RETURN([[maybe_unused]] const Flow flow, run(macro.body, scope, out));
    return text_value(std::move(out));
  }

  Status assign(const Target& target, const Value& value, Scope& scope) {
    if (target.attribute.empty()) {
      scope.variables.set(target.name, value);
      return {};
    }
    const Value object = evaluator_.look_up(target.name, scope);
    if (!object.is_namespace()) {
      return template_error(fmt::format("cannot set {}.{}: {} is a {}, not a namespace", target.name,
                                        target.attribute, target.name, object.type_name()));
    }
    if (!value.may_be_stored())
      return template_error(fmt::format("a {} cannot be put in a namespace", value.type_name()));
    object.as_namespace().set(target.attribute, value);
    return {};
  }

  Result<List> unpack(const Value& value, std::size_t n) {
    RETURN_IF_ERROR(budget_.spend(items_of(value)));
    ASSIGN_OR_RETURN(List items, iterate(value));
    if (items.size() == n) return items;
    return template_error(fmt::format("cannot unpack {} values into {} variables", items.size(), n));
  }

  Result<Value> apply_filters(const std::vector<FilterCall>& filters, std::string text, Scope& scope) {
    Value value(std::move(text));
    for (const FilterCall& filter : filters) {
      ASSIGN_OR_RETURN(const Arguments arguments, evaluator_.evaluate(filter.arguments, scope));
      RETURN_IF_ERROR(budget_.spend(value.weight()));
      ASSIGN_OR_RETURN(value, apply_filter(filter.name, value, arguments));
    }
    return value;
  }

  Budget budget_;
  Evaluator evaluator_;
  Scope root_;
};

}  // namespace

Result<std::string> render(const Body& body, Dict variables, const std::tm& now) {
  return Interpreter(std::move(variables), now).run_template(body);
}

}  // namespace concertina::jinja
