#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace concertina::jinja {

// Resolves Python's escapes: \n, \t, \x41, \u0041, \U00000041, octal. Unknown ones stay as they are.
Result<std::string> unescape(std::string_view text);

}  // namespace concertina::jinja
