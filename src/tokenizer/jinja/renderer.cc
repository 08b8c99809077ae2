#include "tokenizer/jinja/renderer.h"

#include <array>
#include <map>

#include "tokenizer/jinja/values.h"

namespace concertina::tokenizer::jinja {

namespace {

using Kind = Expression::Kind;
constexpr std::size_t kMaxOutputBytes = 64 << 20, kMaxTurns = 10'000'000, kMaxDepth = 200;

class Renderer {
 public:
  Renderer(const Value& variables, std::time_t now) : now_(now) {
    scopes_.emplace_back();
    for (const auto& [name, value] : variables.items()) scopes_[0][name] = value;
  }

  std::string run(const Body& body) {
    std::string out;
    execute(body, out);
    return out;
  }

 private:
  enum class Flow { kOn, kBreak, kContinue };

  [[noreturn]] void fail(std::size_t line, std::string what) const {
    throw TemplateError{line, std::move(what)};
  }

  // What values.h throws gets the line of where it happened.
  template <typename F>
  auto at_line(std::size_t line, const F& f) const {
    try {
      return f();
    } catch (const std::string& what) {
      fail(line, what);
    } catch (const std::out_of_range&) {
      fail(line, "an argument is missing");
    }
  }

  Value* find(const std::string& name) {
    for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
      if (const auto found = scope->find(name); found != scope->end()) return &found->second;
    }
    return nullptr;
  }

  // ---- statements

  Flow execute(const Body& body, std::string& out) {
    if (++depth_ > kMaxDepth) fail(body.empty() ? 0 : body[0]->line, "nested too deeply");
    Flow flow = Flow::kOn;
    for (const auto& node : body) {
      flow = execute(*node, out);
      if (out.size() > kMaxOutputBytes) fail(node->line, "the output is longer than 64 MiB");
      if (flow != Flow::kOn) break;
    }
    --depth_;
    return flow;
  }

  Flow execute(const Node& node, std::string& out) {
    switch (node.kind) {
      case Node::Kind::kText:
        out += node.text;
        return Flow::kOn;
      case Node::Kind::kOutput:
        out += to_text(evaluate(*node.expressions[0]));
        return Flow::kOn;
      case Node::Kind::kIf:
        return execute_if(node, out);
      case Node::Kind::kFor:
        return execute_for(node, out);
      case Node::Kind::kSet:
        assign(node, evaluate(*node.expressions[0]));
        return Flow::kOn;
      case Node::Kind::kSetBlock: {
        std::string inside;
        execute(node.bodies[0], inside);
        assign(node, inside);
        return Flow::kOn;
      }
      case Node::Kind::kMacro:
        macros_[node.text] = &node;
        return Flow::kOn;
      case Node::Kind::kBreak:
        return Flow::kBreak;
      case Node::Kind::kContinue:
        return Flow::kContinue;
    }
    return Flow::kOn;
  }

  Flow execute_if(const Node& node, std::string& out) {
    for (std::size_t i = 0; i < node.expressions.size(); ++i) {
      if (is_true(evaluate(*node.expressions[i]))) return execute(node.bodies[i], out);
    }
    return node.bodies.size() > node.expressions.size() ? execute(node.bodies.back(), out) : Flow::kOn;
  }

  void assign(const Node& node, const Value& value) {
    if (!node.attribute.empty()) {  // of a namespace(): the only thing that a loop can change outside itself
      Value* const target = find(node.names[0]);
      if (target == nullptr || !target->is_object())
        fail(node.line, "\"" + node.names[0] + "\" is not a namespace");
      (*target)[node.attribute] = value;
    } else {
      bind(node, node.names, value);
    }
  }
  void bind(const Node& node, const std::vector<std::string>& names, const Value& value) {
    if (names.size() == 1) {
      scopes_.back()[names[0]] = value;
      return;
    }
    if (!value.is_array() || value.size() != names.size()) {
      fail(node.line, "expected " + std::to_string(names.size()) + " values, found " + to_text(value));
    }
    for (std::size_t i = 0; i < names.size(); ++i) scopes_.back()[names[i]] = value[i];
  }

  Flow execute_for(const Node& node, std::string& out) {
    Value items = at_line(node.line, [&] { return items_of(evaluate(*node.expressions[0])); });
    scopes_.emplace_back();
    if (node.expressions[1] != nullptr) {
      Value kept = Value::array();
      for (const Value& item : items) {
        bind(node, node.names, item);
        if (is_true(evaluate(*node.expressions[1]))) kept.push_back(item);
      }
      items = std::move(kept);
    }
    for (std::size_t i = 0; i < items.size(); ++i) {
      if (++n_turns_ > kMaxTurns) fail(node.line, "too many turns of loops");
      scopes_.back().clear();
      bind(node, node.names, items[i]);
      scopes_.back()["loop"] = loop_variable(items, i);
      if (execute(node.bodies[0], out) == Flow::kBreak) break;
    }
    scopes_.pop_back();
    if (items.empty() && node.bodies.size() > 1) return execute(node.bodies[1], out);
    return Flow::kOn;
  }
  static Value loop_variable(const Value& items, std::size_t i) {
    Value loop = {{"index", i + 1},
                  {"index0", i},
                  {"first", i == 0},
                  {"last", i + 1 == items.size()},
                  {"length", items.size()},
                  {"revindex", items.size() - i},
                  {"revindex0", items.size() - i - 1}};
    if (i > 0) loop["previtem"] = items[i - 1];
    if (i + 1 < items.size()) loop["nextitem"] = items[i + 1];
    return loop;
  }

  // ---- expressions

  Value evaluate(const Expression& e) {
    if (++depth_ > kMaxDepth) fail(e.line, "nested too deeply");
    Value value = at_line(e.line, [&] { return evaluate_one(e); });
    --depth_;
    return value;
  }

  Value evaluate_one(const Expression& e) {
    const auto operand = [&](std::size_t i) {
      return e.operands[i] == nullptr ? Value(nullptr) : evaluate(*e.operands[i]);
    };
    switch (e.kind) {
      case Kind::kLiteral:
        return e.literal;
      case Kind::kName: {
        const Value* found = find(e.text);
        return found == nullptr ? undefined() : *found;
      }
      case Kind::kList: {
        Value list = Value::array();
        for (const auto& item : e.operands) list.push_back(evaluate(*item));
        return list;
      }
      case Kind::kDict: {
        Value dict = Value::object();
        for (std::size_t i = 0; i < e.operands.size(); i += 2) dict[to_text(operand(i))] = operand(i + 1);
        return dict;
      }
      case Kind::kAttribute: {
        const Value object = operand(0);
        if (is_undefined(object))
          throw "\"" + describe(*e.operands[0]) + "\" is undefined: it has no \"" + e.text + "\"";
        return get_index(object, e.text);
      }
      case Kind::kIndex:
        return get_index(operand(0), operand(1));
      case Kind::kSlice:
        return get_slice(operand(0), operand(1), operand(2), operand(3));
      case Kind::kCall:
        return call(e);
      case Kind::kFilter:
        return apply_filter(e.text, operand(0), evaluate(e.arguments));
      case Kind::kTest:
        return apply_test(e.text, operand(0), evaluate(e.arguments));
      case Kind::kConditional:
        return is_true(operand(1)) ? operand(0) : e.operands[2] ? operand(2) : undefined();
      case Kind::kUnary: {
        const Value value = operand(0);
        if (e.text == "not") return !is_true(value);
        return apply_binary("-", 0, value);
      }
      case Kind::kBinary:
        return binary(e);
    }
    return undefined();
  }

  Value binary(const Expression& e) {
    const Value left = evaluate(*e.operands[0]);
    if (e.text == "and") return is_true(left) ? evaluate(*e.operands[1]) : left;
    if (e.text == "or") return is_true(left) ? left : evaluate(*e.operands[1]);
    const Value right = evaluate(*e.operands[1]);
    if (e.text == "==") return equal(left, right);
    if (e.text == "!=") return !equal(left, right);
    if (e.text == "<") return less(left, right);
    if (e.text == ">") return less(right, left);
    if (e.text == "<=") return !less(right, left);
    if (e.text == ">=") return !less(left, right);
    if (e.text == "in") return contains(right, left);
    return apply_binary(e.text, left, right);
  }

  static std::string describe(const Expression& e) {
    if (e.kind == Kind::kAttribute) return describe(*e.operands[0]) + "." + e.text;
    return e.kind == Kind::kName ? e.text : "this";
  }

  Arguments evaluate(const std::vector<Argument>& arguments) {
    Arguments out;
    for (const Argument& argument : arguments) {
      if (argument.name.empty()) {
        out.positional.push_back(evaluate(*argument.value));
      } else {
        out.named[argument.name] = evaluate(*argument.value);
      }
    }
    return out;
  }

  Value call(const Expression& e) {
    const Expression& callee = *e.operands[0];
    const Arguments arguments = evaluate(e.arguments);
    if (callee.kind == Kind::kAttribute) {
      const Value object = evaluate(*callee.operands[0]);
      if (is_undefined(object))
        throw "\"" + describe(*callee.operands[0]) + "\" is undefined: it has no \"" + callee.text + "\"";
      if (!has_method(object, callee.text))
        throw std::string(object.type_name()) + " has no method \"" + callee.text + "\"";
      return call_method(object, callee.text, arguments);
    }
    if (callee.kind != Kind::kName) throw std::string("only functions, macros and methods can be called");
    if (const auto macro = macros_.find(callee.text); macro != macros_.end())
      return call_macro(*macro->second, arguments);
    return call_function(callee.text, arguments);
  }

  Value call_macro(const Node& macro, const Arguments& arguments) {
    std::map<std::string, Value> scope;
    for (std::size_t i = 0; i < macro.names.size(); ++i) {
      const Value absent = macro.expressions[i] != nullptr ? evaluate(*macro.expressions[i]) : undefined();
      scope[macro.names[i]] = arguments.get(i, macro.names[i].c_str(), absent);
    }
    scopes_.push_back(std::move(scope));
    std::string out;
    execute(macro.bodies[0], out);
    scopes_.pop_back();
    return out;
  }

  Value call_function(const std::string& name, const Arguments& a) {
    if (name == "raise_exception") throw to_text(a.get(0, "message", "raise_exception()"));
    if (name == "namespace" || name == "dict") {
      Value made = a.positional.empty() ? Value::object() : a.positional[0];
      for (const auto& [key, value] : a.named) made[key] = value;
      return made;
    }
    if (name == "list") return a.positional.empty() ? Value::array() : items_of(a.positional[0]);
    if (name == "range") return range(a);
    if (name == "strftime_now") {
      std::tm parts{};
      localtime_r(&now_, &parts);
      std::array<char, 256> text{};
      const std::size_t n =
          std::strftime(text.data(), text.size(), to_text(a.get(0, "format", "%Y-%m-%d")).c_str(), &parts);
      return std::string(text.data(), n);
    }
    throw "\"" + name + "\" is not a function";
  }

  static Value range(const Arguments& a) {
    const auto number = [&](std::size_t i) {
      if (!a.positional.at(i).is_number_integer()) throw std::string("range() needs integers");
      return a.positional[i].get<std::int64_t>();
    };
    const std::int64_t begin = a.positional.size() > 1 ? number(0) : 0,
                       end = number(a.positional.size() > 1 ? 1 : 0);
    const std::int64_t step = a.positional.size() > 2 ? number(2) : 1;
    if (step == 0) throw std::string("range()'s step must not be 0");
    Value out = Value::array();
    for (std::int64_t i = begin; step > 0 ? i < end : i > end; i += step) {
      if (out.size() > 100000) throw std::string("range() is longer than 100000");
      out.push_back(i);
    }
    return out;
  }

  std::vector<std::map<std::string, Value>> scopes_;
  std::map<std::string, const Node*> macros_;
  std::time_t now_;
  std::size_t depth_ = 0, n_turns_ = 0;
};

}  // namespace

std::string render_template(const Body& body, const Value& variables, std::time_t now) {
  return Renderer(variables, now).run(body);
}

}  // namespace concertina::tokenizer::jinja
