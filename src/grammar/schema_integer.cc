#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <optional>

#include "grammar/schema_types.h"

namespace concertina::grammar {
namespace {

// Digits of one length, between `low` and `high` of that length. Where all are free behind the first digit of
// a bound it is one of the digits between them: without that a range of 16 digits doubles at each of them.
void append_digits(RuleSet& rules, NodeIndex from, NodeIndex to, std::string_view low,
                   std::string_view high) {
  if (low.empty()) return rules.add_skip(from, to);
  const bool low_is_free = low.find_first_not_of('0', 1) == low.npos;
  const bool high_is_free = high.find_first_not_of('9', 1) == high.npos;
  const std::string nines(low.size() - 1, '9'), zeros(low.size() - 1, '0');
  if (low[0] == high[0] && !(low_is_free && high_is_free)) {
    const NodeIndex next = rules.append_literal(from, low.substr(0, 1));
    return append_digits(rules, next, to, low.substr(1), high.substr(1));
  }
  if (!low_is_free)
    append_digits(rules, rules.append_literal(from, low.substr(0, 1)), to, low.substr(1), nines);
  if (!high_is_free)
    append_digits(rules, rules.append_literal(from, high.substr(0, 1)), to, zeros, high.substr(1));
  const auto first = static_cast<std::uint8_t>(low[0] + (low_is_free ? 0 : 1));
  const auto last = static_cast<std::uint8_t>(high[0] - (high_is_free ? 0 : 1));
  for (std::size_t i = 0; first <= last && i < low.size(); ++i) {
    const NodeIndex next = i + 1 == low.size() ? to : rules.add_node();
    rules.add_bytes(from, i == 0 ? first : '0', i == 0 ? last : '9', next);
    from = next;
  }
}

}  // namespace

void append_whole_numbers(RuleSet& rules, NodeIndex from, NodeIndex to, std::uint64_t low,
                          std::optional<std::uint64_t> high) {
  if (high && *high < low) return;
  const std::string first = std::to_string(low);
  const std::string last = high ? std::to_string(*high) : std::string();
  const std::size_t longest = high ? last.size() : first.size();
  for (std::size_t length = first.size(); length <= longest; ++length)
    append_digits(rules, from, to, length == first.size() ? first : "1" + std::string(length - 1, '0'),
                  length == last.size() ? last : std::string(length, '9'));
  if (high) return;
  NodeIndex at = rules.add_node();
  rules.add_bytes(from, '1', '9', at);
  for (std::size_t i = 0; i < first.size(); ++i) {
    const NodeIndex next = rules.add_node();
    rules.add_bytes(at, '0', '9', next);
    at = next;
  }
  rules.add_bytes(at, '0', '9', at);
  rules.add_skip(at, to);
}

namespace {

struct Bounds {
  std::optional<std::int64_t> low, high;
};

constexpr double kMost = 9e18;

// The whole numbers within the four keywords.
Result<Bounds> bounds_of(const PlacedSchema& placed) {
  Bounds bounds;
  for (const auto* keyword : kNumberBounds) {
    if (!placed.schema->contains(keyword)) continue;
    const Json& value = (*placed.schema)[keyword];
    const double number = value.get<double>();
    if (std::abs(number) > kMost)
      return refuse_keyword(pointer_to(placed.pointer, keyword), "at most 9e18 is supported");
    const bool is_low = std::string_view(keyword).ends_with("inimum"), is_exclusive = keyword[0] == 'e';
    const bool is_whole = value.is_number_integer() || number == std::floor(number);
    std::int64_t bound = value.is_number_integer()
                             ? value.get<std::int64_t>()
                             : static_cast<std::int64_t>(is_low ? std::ceil(number) : std::floor(number));
    if (is_exclusive && is_whole) bound += is_low ? 1 : -1;
    auto& side = is_low ? bounds.low : bounds.high;
    side = !side ? bound : is_low ? std::max(*side, bound) : std::min(*side, bound);
  }
  return bounds;
}

}  // namespace

Status append_integer(SchemaReader& reader, const PlacedSchema& placed, NodeIndex from, NodeIndex to) {
  RuleSet& rules = reader.rules();
  ASSIGN_OR_RETURN(const Bounds bounds, bounds_of(placed));
  if (!bounds.low && !bounds.high) {
    rules.add_call(from, reader.json().integer(), to);
    return {};
  }
  const auto magnitude = [](std::int64_t below_zero) { return static_cast<std::uint64_t>(-below_zero); };
  if (!bounds.high || *bounds.high >= 0) {
    std::optional<std::uint64_t> high;
    if (bounds.high) high = static_cast<std::uint64_t>(*bounds.high);
    append_whole_numbers(rules, from, to,
                         static_cast<std::uint64_t>(std::max<std::int64_t>(bounds.low.value_or(0), 0)), high);
  }
  if (!bounds.low || *bounds.low < 0) {
    std::optional<std::uint64_t> high;
    if (bounds.low) high = magnitude(*bounds.low);
    const std::uint64_t low = bounds.high && *bounds.high < 0 ? magnitude(*bounds.high) : 1;
    append_whole_numbers(rules, rules.append_literal(from, "-"), to, low, high);
  }
  return {};
}

}  // namespace concertina::grammar
