#include "server/openai/stop_strings.h"

#include <algorithm>
#include <utility>

namespace concertina::server::openai {

StopStrings::Step StopStrings::push(std::string_view text) {
  if (strings_->empty()) return {std::string(text)};
  held_ += text;
  std::size_t first = std::string::npos;
  for (const std::string& stop : *strings_) first = std::min(first, held_.find(stop));
  if (first != std::string::npos) {
    std::string before = held_.substr(0, first);
    held_.clear();
    return {std::move(before), Step::Hit::kYes};
  }
  std::size_t n_held = 0;  // the longest end of the text that begins a stop string
  for (const std::string& stop : *strings_) {
    for (std::size_t n = std::min(stop.size() - 1, held_.size()); n > n_held; --n) {
      if (held_.compare(held_.size() - n, n, stop, 0, n) == 0) n_held = n;
    }
  }
  Step step{held_.substr(0, held_.size() - n_held)};
  held_.erase(0, held_.size() - n_held);
  return step;
}

std::string StopStrings::flush() { return std::exchange(held_, {}); }

}  // namespace concertina::server::openai
