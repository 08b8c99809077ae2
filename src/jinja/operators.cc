#include "jinja/operators.h"

#include <fmt/format.h>

#include <cmath>

namespace concertina::jinja {

namespace {

constexpr const char* kSymbols[] = {"+", "-", "*", "/", "//", "%", "**", "~"};

tl::unexpected<Error> overflow_error() { return template_error("the integer does not fit in 64 bits"); }

Result<Value> integer_power(std::int64_t base, std::int64_t exponent) {
  if (exponent < 0) return Value(std::pow(static_cast<double>(base), static_cast<double>(exponent)));
  std::int64_t result = 1;
  for (; exponent > 0; exponent >>= 1) {
    if ((exponent & 1) != 0 && __builtin_mul_overflow(result, base, &result)) return overflow_error();
    if (exponent > 1 && __builtin_mul_overflow(base, base, &base)) return overflow_error();
  }
  return Value(result);
}

Result<Value> integer_floor_divide(BinaryOperator op, std::int64_t a, std::int64_t b) {
  if (b == 0) return template_error("division by zero");
  if (b == -1) {
    if (op == BinaryOperator::kModulo) return Value(std::int64_t{0});
    if (a == INT64_MIN) return overflow_error();
    return Value(-a);
  }
  const std::int64_t remainder = a % b;
  const bool round_down = remainder != 0 && (remainder < 0) != (b < 0);
  if (op == BinaryOperator::kModulo) return Value(round_down ? remainder + b : remainder);
  return Value(a / b - (round_down ? 1 : 0));
}

Result<Value> integer_arithmetic(BinaryOperator op, std::int64_t a, std::int64_t b) {
  std::int64_t result = 0;
  bool overflow = false;
  switch (op) {
    case BinaryOperator::kAdd:
      overflow = __builtin_add_overflow(a, b, &result);
      break;
    case BinaryOperator::kSubtract:
      overflow = __builtin_sub_overflow(a, b, &result);
      break;
    case BinaryOperator::kMultiply:
      overflow = __builtin_mul_overflow(a, b, &result);
      break;
    case BinaryOperator::kPower:
      return integer_power(a, b);
    default:
      return integer_floor_divide(op, a, b);
  }
  if (overflow) return overflow_error();
  return Value(result);
}

Result<Value> float_arithmetic(BinaryOperator op, double a, double b) {
  const bool divides =
      op == BinaryOperator::kDivide || op == BinaryOperator::kFloorDivide || op == BinaryOperator::kModulo;
  if (divides && b == 0) return template_error("division by zero");
  switch (op) {
    case BinaryOperator::kAdd:
      return Value(a + b);
    case BinaryOperator::kSubtract:
      return Value(a - b);
    case BinaryOperator::kMultiply:
      return Value(a * b);
    case BinaryOperator::kDivide:
      return Value(a / b);
    case BinaryOperator::kFloorDivide:
      return Value(std::floor(a / b));
    case BinaryOperator::kModulo:
      return Value(a - b * std::floor(a / b));
    default:
      return Value(std::pow(a, b));
  }
}

Result<Value> repeat(const std::string& text, std::int64_t count) {
  if (count <= 0 || text.empty()) return Value(std::string());
  if (static_cast<std::uint64_t>(count) > kMaxTextBytes / text.size()) {
    return template_error(fmt::format("a text of more than {} bytes", kMaxTextBytes));
  }
  std::string out;
  for (std::int64_t i = 0; i < count; ++i) out += text;
  return Value(std::move(out));
}

Result<Value> join_lists(const Value& left, const Value& right) {
  List joined = left.as_list();
  joined.insert(joined.end(), right.as_list().begin(), right.as_list().end());
  return Value::list(std::move(joined), left.sequence_kind());
}

}  // namespace

Result<Value> apply_unary(UnaryOperator op, const Value& operand) {
  if (op == UnaryOperator::kNot) return Value(!operand.truth());
  if (!operand.is_number()) return template_error(fmt::format("a {} has no sign", operand.type_name()));
  if (operand.is_float())
    return Value(op == UnaryOperator::kMinus ? -operand.as_double() : operand.as_double());
  if (op == UnaryOperator::kPlus) return Value(operand.as_integer());
  return integer_arithmetic(BinaryOperator::kSubtract, 0, operand.as_integer());
}

Result<Value> apply_binary(BinaryOperator op, const Value& left, const Value& right) {
  if (op == BinaryOperator::kConcat) return text_value(left.to_text() + right.to_text());
  if (left.is_integral() && right.is_integral() && op != BinaryOperator::kDivide) {
    return integer_arithmetic(op, left.as_integer(), right.as_integer());
  }
  if (left.is_number() && right.is_number()) return float_arithmetic(op, left.as_double(), right.as_double());
  if (op == BinaryOperator::kAdd && left.is_text() && right.is_text())
    return text_value(left.as_text() + right.as_text());
  if (op == BinaryOperator::kAdd && left.is_list() && right.is_list() &&
      left.is_tuple() == right.is_tuple()) {
    return join_lists(left, right);
  }
  if (op == BinaryOperator::kMultiply && left.is_text() && right.is_integral()) {
    return repeat(left.as_text(), right.as_integer());
  }
  if (op == BinaryOperator::kMultiply && left.is_integral() && right.is_text()) {
    return repeat(right.as_text(), left.as_integer());
  }
  for (const Value* side : {&left, &right}) {
    if (side->is_undefined())
      return template_error(fmt::format("'{}' is undefined", side->as_undefined().name));
  }
  return template_error(fmt::format("cannot apply {} to a {} and a {}", kSymbols[static_cast<int>(op)],
                                    left.type_name(), right.type_name()));
}

Result<bool> apply_compare(CompareOperator op, const Value& left, const Value& right) {
  switch (op) {
    case CompareOperator::kEqual:
      return equal(left, right);
    case CompareOperator::kNotEqual:
      return !equal(left, right);
    case CompareOperator::kIn:
      return contains(right, left);
    case CompareOperator::kNotIn:
      return contains(right, left).map([](bool found) { return !found; });
    default:
      break;
  }
  ASSIGN_OR_RETURN(const int order, compare(left, right));
  switch (op) {
    case CompareOperator::kLess:
      return order < 0;
    case CompareOperator::kLessEqual:
      return order <= 0;
    case CompareOperator::kGreater:
      return order > 0;
    default:
      return order >= 0;
  }
}

}  // namespace concertina::jinja
