#pragma once

#include <string_view>

#include "base/result.h"
#include "grammar/error.h"
#include "grammar/rule_set.h"

// JSON schema (2020-12; draft 7's `definitions` too) as a grammar of the documents that it describes.
//
// Done: true, false, type, enum, const, properties, required, additionalProperties, items, prefixItems,
// minItems, maxItems, minLength, maxLength, pattern, format (date, date-time, uuid, email), minimum, maximum,
// exclusiveMinimum, exclusiveMaximum, anyOf, allOf, $ref within the document. Notes (title,
// description, default, examples, ...) say nothing. Every other keyword is refused with its pointer. As the
// standard has it, a keyword is about values of its type only, and members that `properties` does not name
// are allowed unless additionalProperties says otherwise.
//
// Which of the ways to write a document are allowed: members in the order of `properties`, then those that
// only `required` names, then others; white space as json_rules.h says; numbers of enum and const as the
// schema writes them; numbers within bounds without an exponent, integers exactly, fractions to any number of
// digits; in strings held to a pattern, a format or a list, escapes only where they must be.
namespace concertina::grammar {

// Fills an empty set.
Status read_json_schema(RuleSet& rules, std::string_view source);
Status read_json_object(RuleSet& rules);                            // any object
Status read_choice(RuleSet& rules, std::string_view json_strings);  // one of a JSON array of strings

}  // namespace concertina::grammar
