#include "grammar/other_keys.h"

#include "grammar/json_rules.h"

namespace concertina::grammar {
namespace {

std::size_t utf8_length(std::uint8_t lead) { return lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4; }

bool is_whole(const std::string& character) {
  if (character[0] == '\\') return character.size() == 2;
  return character.size() == utf8_length(static_cast<std::uint8_t>(character[0]));
}

}  // namespace

OtherKeys::OtherKeys(RuleSet& rules, const std::set<std::string>& names) : rules_(rules), tree_(1) {
  for (const auto& name : names) add_name(name);
}

void OtherKeys::add_name(const std::string& name) {
  std::uint32_t at = 0;
  for (const char byte : quoted(name).substr(1)) {
    const auto [child, is_new] = tree_[at].children.try_emplace(static_cast<std::uint8_t>(byte),
                                                                static_cast<std::uint32_t>(tree_.size()));
    const std::string character = tree_[at].character + byte;
    at = child->second;
    if (is_new) tree_.push_back({.character = is_whole(character) ? std::string() : character});
  }
}

void OtherKeys::append(NodeIndex from, NodeIndex to) {
  make_free(to);
  for (auto& node : tree_) node.node = rules_.add_node();
  rules_.add_bytes(from, '"', '"', tree_[0].node);
  for (const auto& node : tree_) {
    for (const auto& [byte, child] : node.children)
      if (!tree_[child].children.empty()) rules_.add_bytes(node.node, byte, byte, tree_[child].node);
    if (node.children.empty()) continue;
    if (node.character.empty())
      leave_between_characters(node, to);
    else
      leave_within_character(node);
  }
}

void OtherKeys::make_free(NodeIndex to) {
  free_ = rules_.add_node();
  append_characters(rules_, free_, free_, {{0x20, kLastCodePoint}}, Writing::kJsonString);
  free_escape_ = rules_.append_literal(free_, "\\");
  for (const std::uint8_t letter : {'b', 'f', 'n', 'r', 't', '"', '\\'})
    rules_.add_bytes(free_escape_, letter, letter, free_);
  rules_.add_bytes(free_, '"', '"', to);
  continuations_ = {free_};
  for (int n = 1; n < 4; ++n) {
    const NodeIndex more = rules_.add_node();
    rules_.add_bytes(more, 0x80, 0xBF, continuations_.back());
    continuations_.push_back(more);
  }
}

void OtherKeys::leave(const TreeNode& from, std::uint8_t first, std::uint8_t last, NodeIndex to) {
  for (unsigned byte = first; byte <= last; ++byte)
    if (!from.children.contains(static_cast<std::uint8_t>(byte)))
      rules_.add_bytes(from.node, static_cast<std::uint8_t>(byte), static_cast<std::uint8_t>(byte), to);
}

void OtherKeys::leave_between_characters(const TreeNode& from, NodeIndex to) {
  leave(from, '"', '"', to);
  leave(from, 0x20, 0x21, free_);
  leave(from, 0x23, 0x5B, free_);
  leave(from, 0x5D, 0x7F, free_);
  leave(from, '\\', '\\', free_escape_);
  const NodeIndex wide = rules_.add_node();
  append_characters(rules_, wide, free_, {{0x80, kLastCodePoint}}, Writing::kPlain);
  for (const auto& edge : std::vector(rules_.nodes()[wide].bytes))
    leave(from, edge.first, edge.last, edge.to);
}

void OtherKeys::leave_within_character(const TreeNode& from) {
  const auto lead = static_cast<std::uint8_t>(from.character[0]);
  if (lead == '\\') {
    for (const std::uint8_t letter : {'b', 'f', 'n', 'r', 't', '"', '\\'}) leave(from, letter, letter, free_);
    return;
  }
  std::uint8_t first = 0x80, last = 0xBF;
  if (from.character.size() == 1) {  // no overlong forms, no surrogates, nothing above U+10FFFF
    if (lead == 0xE0) first = 0xA0;
    if (lead == 0xED) last = 0x9F;
    if (lead == 0xF0) first = 0x90;
    if (lead == 0xF4) last = 0x8F;
  }
  leave(from, first, last, continuations_[utf8_length(lead) - from.character.size() - 1]);
}

}  // namespace concertina::grammar
