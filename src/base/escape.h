#pragma once

#include <string>
#include <string_view>

namespace concertina {

// Text from outside as a log or a terminal may show it: control characters (C0, DEL, C1), line and paragraph
// separators, marks that turn the direction of writing, and bytes that are no UTF-8 become \n, \x1b, \u202e:
// none can end a line, move the cursor or hide what stands there. All else stays as it is.
enum class Keep : unsigned char { kNothing, kLinesAndTabs };
std::string escaped(std::string_view text, Keep keep = Keep::kNothing);

}  // namespace concertina
