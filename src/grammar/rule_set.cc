#include "grammar/rule_set.h"

#include "grammar/limits.h"

namespace concertina::grammar {

RuleIndex RuleSet::add_rule(std::string name) {
  if (rules_.size() >= kMaxRules) {
    is_full_ = true;
    return 0;
  }
  const NodeIndex start = add_node(), end = add_node();
  rules_.push_back({std::move(name), start, end});
  return static_cast<RuleIndex>(rules_.size() - 1);
}

NodeIndex RuleSet::add_node() {
  if (nodes_.size() >= kMaxNodes) {
    is_full_ = true;
    return static_cast<NodeIndex>(nodes_.size() - 1);
  }
  nodes_.emplace_back();
  return static_cast<NodeIndex>(nodes_.size() - 1);
}

bool RuleSet::has_room_for_edge() {
  if (n_edges_ == kMaxEdges) is_full_ = true;
  if (!is_full_) ++n_edges_;
  return !is_full_;
}

void RuleSet::add_bytes(NodeIndex from, std::uint8_t first, std::uint8_t last, NodeIndex to) {
  if (has_room_for_edge()) nodes_[from].bytes.push_back({first, last, to});
}

void RuleSet::add_call(NodeIndex from, RuleIndex rule, NodeIndex to) {
  if (has_room_for_edge()) nodes_[from].calls.push_back({rule, to});
}

void RuleSet::add_skip(NodeIndex from, NodeIndex to) {
  if (has_room_for_edge()) nodes_[from].skips.push_back(to);
}

NodeIndex RuleSet::append_literal(NodeIndex from, std::string_view bytes) {
  for (const char byte : bytes) {
    const NodeIndex to = add_node();
    add_bytes(from, static_cast<std::uint8_t>(byte), static_cast<std::uint8_t>(byte), to);
    from = to;
  }
  return from;
}

NodeIndex RuleSet::append_call(NodeIndex from, RuleIndex rule) {
  const NodeIndex to = add_node();
  add_call(from, rule, to);
  return to;
}

namespace {

std::size_t utf8_length(char32_t c) { return c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4; }

std::uint8_t utf8_byte(char32_t c, std::size_t length, std::size_t at) {
  const auto bits = static_cast<std::uint8_t>((c >> (6 * (length - 1 - at))) & (at == 0 ? 0x7F : 0x3F));
  if (length == 1) return bits;
  constexpr std::uint8_t kLead[] = {0, 0, 0xC0, 0xE0, 0xF0};
  return static_cast<std::uint8_t>((at == 0 ? kLead[length] : 0x80) | bits);
}

// Ranges whose bytes vary independently: all characters of [first, last] that agree before byte `at` and
// where what follows runs from its least to its greatest value.
void append_range(RuleSet& rules, NodeIndex from, NodeIndex to, char32_t first, char32_t last) {
  const std::size_t length = utf8_length(first);
  for (std::size_t below = length - 1; below > 0; --below) {
    const char32_t low_bits = (char32_t{1} << (6 * below)) - 1;
    if ((first & ~low_bits) == (last & ~low_bits)) continue;
    if ((first & low_bits) != 0) {
      append_range(rules, from, to, first, first | low_bits);
      return append_range(rules, from, to, (first | low_bits) + 1, last);
    }
    if ((last & low_bits) != low_bits) {
      append_range(rules, from, to, first, (last & ~low_bits) - 1);
      return append_range(rules, from, to, last & ~low_bits, last);
    }
  }
  for (std::size_t at = 0; at < length; ++at) {
    const NodeIndex next = at + 1 == length ? to : rules.add_node();
    rules.add_bytes(from, utf8_byte(first, length, at), utf8_byte(last, length, at), next);
    from = next;
  }
}

void append_utf8(RuleSet& rules, NodeIndex from, NodeIndex to, const CodePoints& characters) {
  for (const auto& [low, high] :
       {CodePointRange{0, 0x7F}, {0x80, 0x7FF}, {0x800, 0xFFFF}, {0x10000, kLastCodePoint}}) {
    const CodePoints some = characters.within(low, high);
    for (const auto& range : some.ranges()) append_range(rules, from, to, range.first, range.last);
  }
}

void append_escape(RuleSet& rules, NodeIndex from, NodeIndex to, char32_t c) {
  constexpr std::string_view kShort = "b\bf\fn\nr\rt\t\"\"\\\\";
  for (std::size_t i = 0; i < kShort.size(); i += 2) {
    if (static_cast<char32_t>(kShort[i + 1]) != c) continue;
    const char text[] = {'\\', kShort[i]};
    return rules.add_skip(rules.append_literal(from, {text, 2}), to);
  }
  NodeIndex at = rules.append_literal(from, c < 0x10 ? "\\u000" : "\\u001");
  const auto digit = "0123456789abcdef"[c % 16];
  rules.add_bytes(at, static_cast<std::uint8_t>(digit), static_cast<std::uint8_t>(digit), to);
  if (digit >= 'a')
    rules.add_bytes(at, static_cast<std::uint8_t>(digit - 32), static_cast<std::uint8_t>(digit - 32), to);
}

}  // namespace

void append_characters(RuleSet& rules, NodeIndex from, NodeIndex to, const CodePoints& characters,
                       Writing writing) {
  if (writing == Writing::kPlain) return append_utf8(rules, from, to, characters);
  append_utf8(rules, from, to, characters.within(0x20, kLastCodePoint).without('"').without('\\'));
  for (char32_t c = 0; c < 0x20; ++c)
    if (characters.contains(c)) append_escape(rules, from, to, c);
  for (const char32_t c : {U'"', U'\\'})
    if (characters.contains(c)) append_escape(rules, from, to, c);
}

}  // namespace concertina::grammar
