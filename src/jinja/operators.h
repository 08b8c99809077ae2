#pragma once

#include "jinja/ast.h"

// Python's operators on values.
namespace concertina::jinja {

Result<Value> apply_unary(UnaryOperator op, const Value& operand);
Result<Value> apply_binary(BinaryOperator op, const Value& left, const Value& right);
Result<bool> apply_compare(CompareOperator op, const Value& left, const Value& right);

}  // namespace concertina::jinja
