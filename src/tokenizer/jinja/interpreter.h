#pragma once

#include <ctime>
#include <string>

#include "tokenizer/jinja/ast.h"

namespace concertina::tokenizer::jinja {

// Runs a parsed template. Errors name the line. Bounded: nesting, list and text sizes, the output
// (kMaxTextBytes), and the number of steps (see Budget), so that no template hangs or exhausts the process.
inline constexpr std::size_t kMaxSteps = 1'000'000;
Result<std::string> render(const Body& body, Dict variables, const std::tm& now);

}  // namespace concertina::tokenizer::jinja
