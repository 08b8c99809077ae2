#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "grammar/error.h"
#include "grammar/rule_set.h"

// Text around JSON documents, as models write calls of tools: {"schemas": [SCHEMA...], "frame": FRAME}. A
// frame is
//   "text"                        that text
//   [FRAME...]                    one after the other
//   {"schema": N}                 a document of schemas[N]; its $ref are within it
//   {"any_of": [FRAME...]}        one of them
//   {"maybe": FRAME}              it or nothing
//   {"some": FRAME, "between": FRAME}   it, once or more; "between" may be missing
//   {"mark": "text"}              that text, as it is or as a special token
//   {"up_to": ["mark"...], "without": ["mark"...]}   any text up to the first of the marks of up_to, and the
//                                 mark, however it is written; none of "without", which may be missing,
//                                 before
//   {"without": ["mark"...]}      any text in which none of the marks stands
//   {"regex": "..."}              a text that matches as a whole
//   {"pattern": "..."}            a text that matches somewhere, as JSON schema's `pattern` does
namespace concertina::grammar {

// Fills an empty set. Errors name the pointer within the source; those of a schema, "schemas[N]" and the
// pointer within it.
Status read_frames(RuleSet& rules, std::string_view source);

// What a special token is in a vocabulary that lets frames ask for it: no UTF-8, so that no other text has it
// within it. Ordinary tokens with such a byte are to be left out of the vocabulary, as no grammar has them.
inline constexpr char kSpecialTokenByte = '\xFF';
inline std::string special_token(std::string_view text) { return kSpecialTokenByte + std::string(text); }

}  // namespace concertina::grammar
