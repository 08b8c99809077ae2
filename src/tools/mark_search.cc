#include "tools/mark_search.h"

#include <algorithm>

namespace concertina::tools {

Begins begins_with(std::string_view text, std::string_view mark) {
  if (text.starts_with(mark)) return Begins::kYes;
  return mark.starts_with(text) ? Begins::kUnclear : Begins::kNo;
}

MarkFound find_mark(std::string_view text, std::span<const std::string_view> marks) {
  MarkFound found{text.size(), {}};
  for (const std::string_view mark : marks) {
    const std::string_view within = text.substr(0, std::min(text.size(), found.at + mark.size()));
    if (const std::size_t at = within.find(mark); at < found.at) found = {at, mark};
  }
  if (!found.mark.empty()) return found;
  for (const std::string_view mark : marks) {
    const std::size_t longest = std::min(mark.size() - 1, text.size());
    for (std::size_t at = text.size() - longest; at < found.at; ++at) {
      if (mark.starts_with(text.substr(at))) found.at = at;
    }
  }
  return found;
}

bool is_space(char byte) { return kSpace.find(byte) != kSpace.npos; }

std::size_t skip_space(std::string_view text, std::size_t at) {
  return std::min(text.find_first_not_of(kSpace, at), text.size());
}

std::string_view trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(kSpace);
  if (first == text.npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) + 1 - first);
}

}  // namespace concertina::tools
