#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace concertina::tokenizer {

// An expression in Oniguruma's syntax (what tokenizer.json has) as PCRE2's (10.42, UTF and UCP, MULTILINE)
// that matches the same. The two read differently: \s and [[:space:]] (U+180E is no white space), \w, \b and
// POSIX classes (Unicode's Alphabetic, marks, connectors), \v, \uHHHH, scripts (PCRE2 takes their
// extensions), {,n}, and {n,m}+, which PCRE2 takes for possessive. kUnsupported names what is not translated:
// brackets and && within a class, \h, some POSIX classes.
Result<std::string> expression_for_pcre2(std::string_view expression);

}  // namespace concertina::tokenizer
