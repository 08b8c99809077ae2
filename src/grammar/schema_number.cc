// Numbers within bounds, fractions too. They are written without an exponent, and what is below zero is not
// written as -0: a bounded number is a finite set of decimals, or one without an end, read digit by digit.
#include <fmt/format.h>

#include <charconv>
#include <map>
#include <optional>
#include <tuple>

#include "grammar/schema_types.h"

namespace concertina::grammar {
namespace {

constexpr std::size_t kMostDigits = 40;

// A bound of magnitudes: 0 or more.
struct Decimal {
  std::uint64_t whole = 0;
  std::string fraction;  // digits, without zeros at its end
  enum class Itself : std::uint8_t { kIn, kOut } itself = Itself::kIn;
};

int compare(const Decimal& a, const Decimal& b) {
  if (a.whole != b.whole) return a.whole < b.whole ? -1 : 1;
  return a.fraction.compare(b.fraction);  // as text: neither ends with a zero
}

struct Signed {
  Decimal magnitude;
  enum class Sign : std::uint8_t { kPlus, kMinus } sign = Sign::kPlus;
  bool is_negative() const { return sign == Sign::kMinus; }
  bool is_zero() const { return magnitude.whole == 0 && magnitude.fraction.empty(); }
};

// The shortest decimal that is read as this number: what the schema's writer wrote.
std::optional<Signed> decimal_of(const Json& value) {
  std::string text = value.is_number_float() ? fmt::format("{:.17g}", value.get<double>()) : value.dump();
  if (value.is_number_float()) {
    char buffer[64];
    const auto written =
        std::to_chars(buffer, buffer + sizeof(buffer), value.get<double>(), std::chars_format::fixed);
    if (written.ec != std::errc()) return std::nullopt;
    text.assign(buffer, written.ptr);
  }
  Signed out;
  if (text.starts_with('-')) {
    out.sign = Signed::Sign::kMinus;
    text.erase(0, 1);
  }
  const std::size_t point = std::min(text.find('.'), text.size());
  const auto read = std::from_chars(text.data(), text.data() + point, out.magnitude.whole);
  if (read.ec != std::errc() || read.ptr != text.data() + point) return std::nullopt;
  if (out.magnitude.whole > std::uint64_t{9'000'000'000'000'000'000} || text.size() > kMostDigits)
    return std::nullopt;
  if (point < text.size()) out.magnitude.fraction = text.substr(point + 1);
  while (out.magnitude.fraction.ends_with('0')) out.magnitude.fraction.pop_back();
  if (out.is_zero()) out.sign = Signed::Sign::kPlus;
  return out;
}

int compare(const Signed& a, const Signed& b) {
  if (a.is_negative() != b.is_negative()) return a.is_negative() ? -1 : 1;
  return a.is_negative() ? compare(b.magnitude, a.magnitude) : compare(a.magnitude, b.magnitude);
}

struct Bounds {
  std::optional<Signed> low, high;
};

// Of two bounds of one side the narrower; of equal ones the one that leaves itself out.
void narrow(std::optional<Signed>& side, const Signed& bound, int sign) {
  const int order = side ? sign * compare(bound, *side) : 1;
  if (order > 0 || (order == 0 && bound.magnitude.itself == Decimal::Itself::kOut)) side = bound;
}

Result<Bounds> bounds_of(const PlacedSchema& placed) {
  Bounds bounds;
  for (const auto* keyword : kNumberBounds) {
    if (!placed.schema->contains(keyword)) continue;
    auto bound = decimal_of((*placed.schema)[keyword]);
    if (!bound)
      return refuse_keyword(pointer_to(placed.pointer, keyword),
                            fmt::format("at most 9e18, with at most {} digits, is supported", kMostDigits));
    if (keyword[0] == 'e') bound->magnitude.itself = Decimal::Itself::kOut;
    const bool is_low = std::string_view(keyword).ends_with("inimum");
    narrow(is_low ? bounds.low : bounds.high, *bound, is_low ? 1 : -1);
  }
  return bounds;
}

// What may follow the whole part of a number: nothing, or a point and digits, so that the fraction is not
// below `low` and not above `high`; null: no bound.
class Fraction {
 public:
  Fraction(RuleSet& rules, const Decimal* low, const Decimal* high, NodeIndex to)
      : rules_(rules),
        low_(low),
        high_(high),
        n_(std::max(low ? low->fraction.size() : 0, high ? high->fraction.size() : 0)),
        to_(to) {}

  void append(NodeIndex from) {
    const At begin{0, low_ != nullptr, high_ != nullptr};
    if (accepts(begin)) rules_.add_skip(from, to_);
    append_digits(begin, rules_.append_literal(from, "."));
  }

 private:
  // Digits read, n_ at most, and whether those are the bound's own: else it is kept whatever follows.
  using At = std::tuple<std::size_t, bool, bool>;

  static char digit_of(const Decimal* bound, std::size_t i) {
    return i < bound->fraction.size() ? bound->fraction[i] : '0';
  }
  bool accepts(const At& at) const {
    const auto& [i, on_low, on_high] = at;
    if (on_low && (i < low_->fraction.size() || low_->itself == Decimal::Itself::kOut)) return false;
    return !on_high || i < high_->fraction.size() || high_->itself == Decimal::Itself::kIn;
  }
  NodeIndex node_of(const At& at) {
    const auto [known, is_new] = nodes_.try_emplace(at);
    if (!is_new) return known->second;
    const NodeIndex node = known->second = rules_.add_node();
    if (accepts(at)) rules_.add_skip(node, to_);
    append_digits(at, node);
    return node;
  }
  void append_digits(const At& at, NodeIndex from) {
    const auto& [i, on_low, on_high] = at;
    if (rules_.is_full()) return;
    for (char digit = '0'; digit <= '9'; ++digit) {
      if ((on_low && digit < digit_of(low_, i)) || (on_high && digit > digit_of(high_, i))) continue;
      const At next{std::min(i + 1, n_), on_low && digit == digit_of(low_, i),
                    on_high && digit == digit_of(high_, i)};
      rules_.add_bytes(from, static_cast<std::uint8_t>(digit), static_cast<std::uint8_t>(digit),
                       node_of(next));
    }
  }

  RuleSet& rules_;
  const Decimal* const low_;
  const Decimal* const high_;
  const std::size_t n_;
  const NodeIndex to_;
  std::map<At, NodeIndex> nodes_;
};

// Magnitudes from `low` to `high`, or without an end.
void append_magnitudes(RuleSet& rules, NodeIndex from, NodeIndex to, const Decimal& low,
                       const std::optional<Decimal>& high) {
  if (high && compare(low, *high) > 0) return;
  const auto append_whole = [&](std::uint64_t first, std::optional<std::uint64_t> last, const Decimal* least,
                                const Decimal* most) {
    const NodeIndex whole = rules.add_node();
    append_whole_numbers(rules, from, whole, first, last);
    Fraction(rules, least, most, to).append(whole);
  };
  if (high && low.whole == high->whole) return append_whole(low.whole, low.whole, &low, &*high);
  append_whole(low.whole, low.whole, &low, nullptr);
  if (!high) return append_whole(low.whole + 1, std::nullopt, nullptr, nullptr);
  if (low.whole + 1 < high->whole) append_whole(low.whole + 1, high->whole - 1, nullptr, nullptr);
  append_whole(high->whole, high->whole, nullptr, &*high);
}

}  // namespace

bool has_number_bounds(const Json& schema) {
  return std::any_of(std::begin(kNumberBounds), std::end(kNumberBounds),
                     [&](const char* keyword) { return schema.contains(keyword); });
}

Status append_number(SchemaReader& reader, const PlacedSchema& placed, NodeIndex from, NodeIndex to) {
  RuleSet& rules = reader.rules();
  if (!has_number_bounds(*placed.schema)) {
    rules.add_call(from, reader.json().number(), to);
    return {};
  }
  ASSIGN_OR_RETURN(const Bounds bounds, bounds_of(placed));
  const auto& [low, high] = bounds;
  const auto magnitude = [](const std::optional<Signed>& bound) {
    return bound ? std::optional(bound->magnitude) : std::nullopt;
  };
  if (!high || !high->is_negative())
    append_magnitudes(rules, from, to, low && !low->is_negative() ? low->magnitude : Decimal{},
                      magnitude(high));
  if (!low || low->is_negative()) {
    const Decimal above_zero{.whole = 0, .fraction = "", .itself = Decimal::Itself::kOut};
    append_magnitudes(rules, rules.append_literal(from, "-"), to,
                      high && high->is_negative() ? high->magnitude : above_zero, magnitude(low));
  }
  return {};
}

}  // namespace concertina::grammar
