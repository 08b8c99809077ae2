#pragma once

#include <string_view>

#include "jinja/ast.h"

namespace concertina::jinja {

// Parses a template: Jinja without inheritance, includes, imports, call blocks, recursive loops and
// autoescape. Those, and faults, are errors that name the line.
Result<Body> parse_template(std::string_view source);

}  // namespace concertina::jinja
