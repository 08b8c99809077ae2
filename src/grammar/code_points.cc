#include "grammar/code_points.h"

#include <algorithm>

namespace concertina::grammar {

void CodePoints::add(char32_t first, char32_t last) {
  if (first < 0xD800) add_range(first, std::min<char32_t>(last, 0xD7FF));
  if (last > 0xDFFF) add_range(std::max<char32_t>(first, 0xE000), last);
}

void CodePoints::add_range(char32_t first, char32_t last) {
  const auto begin = std::lower_bound(ranges_.begin(), ranges_.end(), first,
                                      [](const CodePointRange& r, char32_t c) { return r.last + 1 < c; });
  auto end = begin;
  for (; end != ranges_.end() && end->first <= last + 1; ++end) {
    first = std::min(first, end->first);
    last = std::max(last, end->last);
  }
  ranges_.insert(ranges_.erase(begin, end), {first, last});
}

void CodePoints::add(const CodePoints& other) {
  for (const auto& range : other.ranges_) add(range.first, range.last);
}

CodePoints CodePoints::complement() const {
  CodePoints result;
  char32_t next = 0;
  for (const auto& range : ranges_) {
    if (range.first > next) result.add(next, range.first - 1);
    next = range.last + 1;
  }
  if (next <= kLastCodePoint) result.add(next, kLastCodePoint);
  return result;
}

CodePoints CodePoints::within(char32_t first, char32_t last) const {
  CodePoints result;
  for (const auto& range : ranges_) {
    const char32_t from = std::max(first, range.first), to = std::min(last, range.last);
    if (from <= to) result.add(from, to);
  }
  return result;
}

CodePoints CodePoints::without(char32_t one) const {
  CodePoints result = one == 0 ? CodePoints() : within(0, one - 1);
  if (one < kLastCodePoint) result.add(within(one + 1, kLastCodePoint));
  return result;
}

bool CodePoints::contains(char32_t one) const { return !within(one, one).ranges_.empty(); }

}  // namespace concertina::grammar
