#pragma once

#include <ctime>

#include "tokenizer/jinja/syntax.h"

namespace concertina::tokenizer::jinja {

// Renders a parsed template; throws TemplateError. `now` is what strftime_now shows. Bounded: output, loop
// turns, depth.
std::string render_template(const Body& body, const Value& variables, std::time_t now);

}  // namespace concertina::tokenizer::jinja
