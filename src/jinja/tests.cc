#include <algorithm>
#include <array>

#include "jinja/arguments.h"
#include "jinja/builtins.h"
#include "jinja/operators.h"
#include "jinja/text.h"

namespace concertina::jinja {

namespace {

using Predicate = bool (*)(const Value& subject);

struct NamedPredicate {
  std::string_view name;
  Predicate holds;
};

bool is_iterable(const Value& v) { return v.is_text() || v.is_list() || v.is_dict() || v.is_undefined(); }
bool is_sequence(const Value& v) { return is_iterable(v); }  // Jinja: whatever has a length and items

constexpr std::array kPredicates = {
    NamedPredicate{"defined", [](const Value& v) { return !v.is_undefined(); }},
    NamedPredicate{"undefined", [](const Value& v) { return v.is_undefined(); }},
    NamedPredicate{"none", [](const Value& v) { return v.is_none(); }},
    NamedPredicate{"string", [](const Value& v) { return v.is_text(); }},
    NamedPredicate{"number", [](const Value& v) { return v.is_number() || v.is_wide_integer(); }},
    NamedPredicate{"integer", [](const Value& v) { return v.is_integer() || v.is_wide_integer(); }},
    NamedPredicate{"float", [](const Value& v) { return v.is_float(); }},
    NamedPredicate{"boolean", [](const Value& v) { return v.is_bool(); }},
    NamedPredicate{"mapping", [](const Value& v) { return v.is_dict(); }},
    NamedPredicate{"sequence", is_sequence},
    NamedPredicate{"iterable", is_iterable},
    NamedPredicate{"callable", [](const Value& v) { return v.is_function(); }},
    NamedPredicate{"true", [](const Value& v) { return v.is_bool() && v.as_bool(); }},
    NamedPredicate{"false", [](const Value& v) { return v.is_bool() && !v.as_bool(); }},
    NamedPredicate{"lower",
                   [](const Value& v) {
                     return v.to_text() == lower(v.to_text()) && v.to_text() != upper(v.to_text());
                   }},
    NamedPredicate{"upper",
                   [](const Value& v) {
                     return v.to_text() == upper(v.to_text()) && v.to_text() != lower(v.to_text());
                   }},
};

constexpr std::array<std::pair<std::string_view, CompareOperator>, 16> kComparisons = {{
    {"==", CompareOperator::kEqual},
    {"eq", CompareOperator::kEqual},
    {"equalto", CompareOperator::kEqual},
    {"sameas", CompareOperator::kEqual},
    {"!=", CompareOperator::kNotEqual},
    {"ne", CompareOperator::kNotEqual},
    {"<", CompareOperator::kLess},
    {"lt", CompareOperator::kLess},
    {"lessthan", CompareOperator::kLess},
    {"<=", CompareOperator::kLessEqual},
    {"le", CompareOperator::kLessEqual},
    {">", CompareOperator::kGreater},
    {"gt", CompareOperator::kGreater},
    {"greaterthan", CompareOperator::kGreater},
    {"ge", CompareOperator::kGreaterEqual},
    {"in", CompareOperator::kIn},
}};

Result<bool> test_division(std::string_view name, const Value& subject, const Value* divisor) {
  const Value two(std::int64_t{2});
  if (name != "divisibleby") divisor = &two;
  if (divisor == nullptr) return template_error("divisibleby needs a number");
  ASSIGN_OR_RETURN(const Value remainder, apply_binary(BinaryOperator::kModulo, subject, *divisor));
  return remainder.truth() == (name == "odd");
}

}  // namespace

Result<bool> apply_test(std::string_view name, const Value& subject, const Arguments& arguments) {
  for (const NamedPredicate& predicate : kPredicates) {
    if (predicate.name == name) return predicate.holds(subject);
  }
  const Value* operand = arguments.get(0, "other");
  if (name == "odd" || name == "even" || name == "divisibleby") return test_division(name, subject, operand);
  for (const auto& [word, op] : kComparisons) {
    if (word != name) continue;
    if (operand == nullptr) return template_error(fmt::format("the test \"{}\" needs an operand", name));
    if (name == "sameas" && std::string_view(subject.type_name()) != operand->type_name()) return false;
    return apply_compare(op, subject, *operand);
  }
  return template_error(fmt::format("no test is called \"{}\"", name));
}

}  // namespace concertina::jinja
