#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "grammar/rule_set.h"

namespace concertina::grammar {

// All JSON strings but some names, as a graph without choices: the names are a tree of bytes, beside which
// each byte either follows the tree or leaves it for good. What is written as \u in a string is left out, so
// that no name comes in disguise.
class OtherKeys {
 public:
  OtherKeys(RuleSet& rules, const std::set<std::string>& names);
  void append(NodeIndex from, NodeIndex to);

 private:
  struct TreeNode {
    std::map<std::uint8_t, std::uint32_t> children;  // a leaf is behind a name's closing quote
    NodeIndex node = 0;
    std::string character;  // the bytes of the character under way
  };
  void add_name(const std::string& name);
  void make_free(NodeIndex to);
  void leave(const TreeNode& from, std::uint8_t first, std::uint8_t last, NodeIndex to);
  void leave_between_characters(const TreeNode& from, NodeIndex to);
  void leave_within_character(const TreeNode& from);

  RuleSet& rules_;
  std::vector<TreeNode> tree_;
  NodeIndex free_ = 0, free_escape_ = 0;  // out of the tree: between characters, behind a backslash
  std::vector<NodeIndex> continuations_;  // [n]: out of the tree, n continuation bytes to come
};

}  // namespace concertina::grammar
