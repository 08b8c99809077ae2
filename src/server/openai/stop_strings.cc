#include "server/openai/stop_strings.h"

#include <algorithm>
#include <utility>

namespace concertina::server::openai {

StopTable::StopTable(std::vector<std::string> strings) {
  for (std::string& text : strings) {
    Pattern pattern{std::move(text), {}};
    pattern.borders.resize(pattern.text.size());
    patterns_.push_back(std::move(pattern));
    Pattern& added = patterns_.back();
    std::size_t n = 0;
    for (std::size_t i = 1; i < added.text.size(); ++i)
      added.borders[i] = static_cast<std::uint32_t>(n = advance(patterns_.size() - 1, n, added.text[i]));
  }
}

std::size_t StopTable::advance(std::size_t index, std::size_t n_matched, char byte) const {
  const Pattern& pattern = patterns_[index];
  if (n_matched == pattern.text.size()) n_matched = pattern.borders[n_matched - 1];
  while (n_matched > 0 && pattern.text[n_matched] != byte) n_matched = pattern.borders[n_matched - 1];
  return pattern.text[n_matched] == byte ? n_matched + 1 : 0;
}

StopStrings::Step StopStrings::push(std::string_view text) {
  if (table_->empty()) return {std::string(text)};
  const std::size_t n_before = held_.size();
  held_ += text;
  std::size_t first = std::string::npos, hit = 0;  // where the stop string begins that ends the text
  for (std::size_t i = 0; i < text.size(); ++i) {
    for (std::size_t index = 0; index < table_->size(); ++index) {
      n_matched_[index] = table_->advance(index, n_matched_[index], text[i]);
      if (n_matched_[index] != table_->length(index)) continue;
      const std::size_t begin = n_before + i + 1 - table_->length(index);
      if (begin < first) first = begin, hit = index;
    }
  }
  if (first != std::string::npos) {
    held_.resize(cut_ == Cut::kBefore ? first : first + table_->length(hit));
    std::fill(n_matched_.begin(), n_matched_.end(), 0);
    return {std::exchange(held_, {}), Step::Hit::kYes, hit};
  }
  const std::size_t n_clear = held_.size() - *std::max_element(n_matched_.begin(), n_matched_.end());
  Step step{held_.substr(0, n_clear)};
  held_.erase(0, n_clear);
  return step;
}

std::string StopStrings::flush() {
  std::fill(n_matched_.begin(), n_matched_.end(), 0);
  return std::exchange(held_, {});
}

}  // namespace concertina::server::openai
