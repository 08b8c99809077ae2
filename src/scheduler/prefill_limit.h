#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>

namespace concertina::scheduler {

// What a step may take of prefill: so many tokens, and of these those for which there is time. A token takes
// token_s, and position_s for each position that it attends to.
struct PrefillLimit {
  std::size_t max_tokens = 0;
  std::size_t least_tokens = 1;  // of max_tokens: may be taken however long they take
  double max_s = std::numeric_limits<double>::infinity();
  double token_s = 0, position_s = 0;

  // Of n tokens of one sequence, the first at `position`.
  double time_s(std::size_t position, std::size_t n) const {
    const auto start = static_cast<double>(position), count = static_cast<double>(n);
    return count * (token_s + position_s * (start + (count + 1) / 2));
  }
  // How many from `position` on there is room for.
  std::size_t tokens_from(std::size_t position) const {
    if (std::isinf(max_s)) return max_tokens;
    // max_s = n (first + slope n), solved for n; a hundredth more, so that what was asked for and granted is
    // no token less by rounding
    const double slope = position_s / 2, first = token_s + position_s * (static_cast<double>(position) + 0.5);
    const double left_s = std::max(0.0, max_s), root = std::sqrt(first * first + 4 * slope * left_s);
    const double n = root + first > 0 ? 2 * left_s / (root + first) + 0.01 : static_cast<double>(max_tokens);
    const double most = static_cast<double>(max_tokens);
    return std::max(std::min(least_tokens, max_tokens), static_cast<std::size_t>(std::min(n, most)));
  }
  // n tokens from `position` on were taken.
  void take(std::size_t position, std::size_t n) {
    max_s -= time_s(position, n);
    max_tokens -= std::min(max_tokens, n);
    least_tokens -= std::min(least_tokens, n);
  }
  bool operator==(const PrefillLimit&) const = default;
};

}  // namespace concertina::scheduler
