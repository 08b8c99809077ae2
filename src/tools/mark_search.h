#pragma once

#include <span>
#include <string_view>

namespace concertina::tools {

inline constexpr std::string_view kSpace = " \t\r\n";

// Where marks lie in a text of which more may come.
struct MarkFound {
  // Of the first mark; without one, where a mark begins that the text's end cuts off, or the text's end.
  std::size_t at = 0;
  std::string_view mark;  // empty: none
};

// The first of `marks`, of which none begins another.
MarkFound find_mark(std::string_view text, std::span<const std::string_view> marks);

// Whether `text` begins with `mark`; kUnclear where it ends before that can be said.
enum class Begins { kNo, kYes, kUnclear };
Begins begins_with(std::string_view text, std::string_view mark);

bool is_space(char byte);
std::size_t skip_space(std::string_view text, std::size_t at);
std::string_view trimmed(std::string_view text);

}  // namespace concertina::tools
