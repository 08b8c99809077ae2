#include "grammar/regex.h"

#include "grammar/regex_parser.h"

namespace concertina::grammar {
namespace {

using Kind = Expression::Kind;

// An expression that is one alternative alone, or a group of one, is that alternative.
Expression& inner(Expression& expression) {
  Expression* at = &expression;
  while ((at->kind == Kind::kAlternation || at->kind == Kind::kSequence) && at->parts.size() == 1)
    at = &at->parts[0];
  return *at;
}

bool has_anchor(const Expression& expression) {
  if (expression.kind == Kind::kBegin || expression.kind == Kind::kEnd) return true;
  for (const auto& part : expression.parts)
    if (has_anchor(part)) return true;
  return false;
}

Expression any_text() {
  Expression repeat{.kind = Kind::kRepeat};
  repeat.parts.push_back(of_characters(CodePoints::all()));
  return repeat;
}

// Takes ^ and $ off the ends, and for a search puts any text where they are not.
Status hold_to_ends(Expression& whole, RegexMatch match) {
  Expression& expression = inner(whole);
  if (expression.kind == Kind::kAlternation) {
    for (auto& part : expression.parts) RETURN_IF_ERROR(hold_to_ends(part, match));
    return {};
  }
  Expression sequence{.kind = Kind::kSequence};
  if (expression.kind == Kind::kSequence)
    sequence.parts = std::move(expression.parts);
  else
    sequence.parts.push_back(std::move(expression));
  auto& parts = sequence.parts;
  bool begins = match == RegexMatch::kWhole, ends = begins;
  while (!parts.empty() && parts.front().kind == Kind::kBegin) {
    begins = true;
    parts.erase(parts.begin());
  }
  while (!parts.empty() && parts.back().kind == Kind::kEnd) {
    ends = true;
    parts.pop_back();
  }
  if (has_anchor(sequence))
    return fail(GrammarError::kUnsupported, "^ or $ within an expression is not supported");
  if (!begins) parts.insert(parts.begin(), any_text());
  if (!ends) parts.push_back(any_text());
  expression = std::move(sequence);
  return {};
}

}  // namespace

Result<NodeIndex> append_regex(RuleSet& rules, NodeIndex from, std::string_view text, RegexMatch match,
                               Writing writing) {
  ASSIGN_OR_RETURN(Expression expression, RegexParser(text).parse());
  RETURN_IF_ERROR(hold_to_ends(expression, match));
  return append_expression(rules, from, expression, writing);
}

}  // namespace concertina::grammar
