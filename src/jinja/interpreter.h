#pragma once

#include <ctime>
#include <string>

#include "jinja/ast.h"

namespace concertina::jinja {

// Runs a parsed template. Errors name the line. Bounded: nesting, list and text sizes, the output
// (kMaxTextBytes), and the number of steps (see Budget), so that no template hangs or exhausts the process.
// The number of steps grows with the variables: a long history takes no more a message than a short one.
inline constexpr std::size_t kMaxSteps = 50'000'000;  // whatever the variables are: a second or two
Result<std::string> render(const Body& body, Dict variables, const std::tm& now);

}  // namespace concertina::jinja
