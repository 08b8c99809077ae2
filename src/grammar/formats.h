#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace concertina::grammar {

// What is written in a string of JSON schema's "format", as a regular expression. date: RFC 3339's full-date,
// of years that have that day. date-time: RFC 3339, with a leap second where it can be seen at once that it
// ends a day of UTC (offsets of whole hours). uuid: RFC 9562. email: RFC 5321's Mailbox, ASCII.
std::optional<std::string> expression_of_format(std::string_view format);
std::string_view formats();  // their names

}  // namespace concertina::grammar
