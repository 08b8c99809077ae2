#pragma once

#include "jinja/ast.h"

namespace concertina::jinja {

// Whether a template has a loop over a message's content ("for part in message.content"), which it then takes
// as a list of parts. Looks at names alone, as vLLM's detection of the "openai" content format does:
// "content" of whatever there is, a variable that is set to it, or one that is called so.
bool loops_over_content(const Body& body);

}  // namespace concertina::jinja
