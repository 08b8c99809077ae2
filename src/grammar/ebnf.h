#pragma once

#include <string_view>

#include "base/result.h"
#include "grammar/error.h"
#include "grammar/rule_set.h"

// GBNF, as llama.cpp, XGrammar and vLLM's `grammar` write it:
//
//   root ::= "yes" | list      # to the end of the line: a comment
//   list ::= "[" [^\]\n]{1,9} ("," item?)* "]"
//
// A rule goes on until the next `name ::=`. Literals and classes have \n \r \t \\ \" \] \- \^ \xHH \uHHHH
// \UHHHHHHHH; . is any character. The text is what `root` matches. A rule may call itself, but not before any
// byte.
namespace concertina::grammar {

// Fills an empty set. kInvalid: the message names the offset, in bytes, or the rule that is missing.
Status read_ebnf(RuleSet& rules, std::string_view source);

}  // namespace concertina::grammar
