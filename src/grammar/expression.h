#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "grammar/rule_set.h"

namespace concertina::grammar {

inline constexpr std::uint32_t kUnbounded = std::numeric_limits<std::uint32_t>::max();

// What regular expressions and EBNF have in common, as their parsers leave it.
struct Expression {
  enum class Kind : std::uint8_t { kCharacters, kSequence, kAlternation, kRepeat, kCall, kBegin, kEnd };
  Kind kind = Kind::kSequence;  // without parts: nothing
  CodePoints characters;
  std::vector<Expression> parts;               // of a repetition: one
  std::uint32_t least = 0, most = kUnbounded;  // of a repetition
  RuleIndex rule = 0;                          // of a call
};

Expression of_characters(CodePoints characters);

// Appends what it matches and returns the node where that ends. kBegin and kEnd match nothing: who parsed
// them has seen where they stand.
NodeIndex append_expression(RuleSet& rules, NodeIndex from, const Expression& expression, Writing writing);

}  // namespace concertina::grammar
