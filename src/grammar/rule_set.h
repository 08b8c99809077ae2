#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "grammar/code_points.h"

namespace concertina::grammar {

using NodeIndex = std::uint32_t;
using RuleIndex = std::uint32_t;

// A grammar as front ends write it: rules, each a graph of nodes from its start to its end whose edges are
// bytes, calls of rules and nothing. Rule 0 is the root.
class RuleSet {
 public:
  struct ByteEdge {
    std::uint8_t first = 0, last = 0;
    NodeIndex to = 0;
  };
  struct CallEdge {
    RuleIndex rule = 0;
    NodeIndex to = 0;
  };
  struct Node {
    std::vector<ByteEdge> bytes;
    std::vector<CallEdge> calls;
    std::vector<NodeIndex> skips;
  };
  struct Rule {
    std::string name;  // for messages
    NodeIndex start = 0, end = 0;
  };

  RuleIndex add_rule(std::string name);
  NodeIndex add_node();
  void add_bytes(NodeIndex from, std::uint8_t first, std::uint8_t last, NodeIndex to);
  void add_call(NodeIndex from, RuleIndex rule, NodeIndex to);
  void add_skip(NodeIndex from, NodeIndex to);

  NodeIndex append_literal(NodeIndex from, std::string_view bytes);  // where it ends
  NodeIndex append_call(NodeIndex from, RuleIndex rule);

  const std::vector<Node>& nodes() const { return nodes_; }
  const std::vector<Rule>& rules() const { return rules_; }
  // Beyond a limit (nodes, edges, rules): nothing is added any more, and compiling fails. Whoever adds in a
  // loop that a source's numbers bound asks for it.
  bool is_full() const { return is_full_; }

 private:
  bool has_room_for_edge();

  std::vector<Node> nodes_;
  std::vector<Rule> rules_;
  std::size_t n_edges_ = 0;
  bool is_full_ = false;
};

// How characters are written: as they are, or within a JSON string, where quotes, backslashes and controls
// are escaped, in one way only.
enum class Writing { kPlain, kJsonString };

void append_characters(RuleSet& rules, NodeIndex from, NodeIndex to, const CodePoints& characters,
                       Writing writing);

}  // namespace concertina::grammar
