#include "grammar/expression.h"

namespace concertina::grammar {
namespace {

// What matches nothing ("" of EBNF) makes no node, which would bound how often it is repeated.
NodeIndex append_repeat(RuleSet& rules, NodeIndex from, const Expression& repeat, Writing writing) {
  const Expression& part = repeat.parts.front();
  for (std::uint32_t i = 0; i < repeat.least && !rules.is_full(); ++i) {
    const NodeIndex next = append_expression(rules, from, part, writing);
    if (next == from) return from;
    from = next;
  }
  const NodeIndex end = rules.add_node();
  if (repeat.most == kUnbounded) {
    const NodeIndex loop = rules.add_node();
    rules.add_skip(from, loop);
    rules.add_skip(append_expression(rules, loop, part, writing), loop);
    rules.add_skip(loop, end);
    return end;
  }
  for (std::uint32_t i = repeat.least; i < repeat.most && !rules.is_full(); ++i) {
    rules.add_skip(from, end);
    const NodeIndex next = append_expression(rules, from, part, writing);
    if (next == from) break;
    from = next;
  }
  rules.add_skip(from, end);
  return end;
}

}  // namespace

Expression of_characters(CodePoints characters) {
  Expression expression{.kind = Expression::Kind::kCharacters};
  expression.characters = std::move(characters);
  return expression;
}

NodeIndex append_expression(RuleSet& rules, NodeIndex from, const Expression& expression, Writing writing) {
  using Kind = Expression::Kind;
  switch (expression.kind) {
    case Kind::kCharacters: {
      const NodeIndex to = rules.add_node();
      append_characters(rules, from, to, expression.characters, writing);
      return to;
    }
    case Kind::kSequence:
      for (const auto& part : expression.parts) from = append_expression(rules, from, part, writing);
      return from;
    case Kind::kAlternation: {
      const NodeIndex to = rules.add_node();
      for (const auto& part : expression.parts)
        rules.add_skip(append_expression(rules, from, part, writing), to);
      return to;
    }
    case Kind::kRepeat:
      return append_repeat(rules, from, expression, writing);
    case Kind::kCall:
      return rules.append_call(from, expression.rule);
    case Kind::kBegin:
    case Kind::kEnd:
      return from;
  }
  return from;
}

}  // namespace concertina::grammar
