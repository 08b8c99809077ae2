#pragma once

#include <string_view>

#include "base/result.h"
#include "grammar/error.h"
#include "grammar/rule_set.h"

// Regular expressions as ECMA-262 and Python write them, of which: literals, ., classes with ranges and
// negation, \d \w \s \D \W \S (ASCII), \t \n \r \f \v \0 \xHH \uHHHH \u{H}, groups (named ones, too; nothing
// is captured), alternation, ? * + {n} {n,} {n,m} (lazy ones match the same), ^ and $ at the ends. Refused by
// name: look-around, back references, \b, \p, flags, possessive quantifiers, ^ and $ elsewhere. A character
// is a Unicode code point.
namespace concertina::grammar {

enum class RegexMatch {
  kWhole,   // the expression is all of the text; ^ and $ change nothing
  kSearch,  // it matches somewhere, as JSON schema's `pattern` does; ^ and $ hold it to the ends
};

// Appends the texts that it matches. kInvalid, kUnsupported: the message names the offset, in bytes.
Result<NodeIndex> append_regex(RuleSet& rules, NodeIndex from, std::string_view expression, RegexMatch match,
                               Writing writing);

}  // namespace concertina::grammar
