#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "grammar/rule_set.h"

namespace concertina::grammar {

// The rules of JSON itself, each made when it is first called for.
//
// White space between tokens is nothing, a space, or one or two ends of lines and at most 20 blanks
// (llama.cpp's choice): what writers of JSON put there, and no way for a model to go on with it for ever.
// It stands behind { [ , : and before } ]. Strings are whole characters; half a surrogate pair is none.
class JsonRules {
 public:
  explicit JsonRules(RuleSet& rules) : rules_(rules) {}

  RuleIndex white_space();
  RuleIndex string();  // with its quotes
  RuleIndex key();     // the same, with a rule of its own: what follows differs
  RuleIndex key_but(
      const std::set<std::string>& names);  // written without \u, so that no name comes in disguise
  RuleIndex integer();                      // without a fraction or an exponent
  RuleIndex number();
  RuleIndex value();
  RuleIndex object();
  RuleIndex array();

  NodeIndex append_space(NodeIndex from) { return rules_.append_call(from, white_space()); }
  // A colon or a comma, and white space.
  NodeIndex append_separator(NodeIndex from, char separator);
  NodeIndex append_string_of(NodeIndex from, std::size_t least, std::optional<std::size_t> most);
  // This value, as nlohmann::json writes it, but for white space; members in their order.
  NodeIndex append_value(NodeIndex from, const nlohmann::ordered_json& value);

 private:
  struct Known {
    std::optional<RuleIndex> white_space, string, key, integer, number, value, object, array;
  };
  void append_any_character(NodeIndex from, NodeIndex to);  // in each way of writing it
  void append_string(RuleIndex rule);
  void append_number(RuleIndex rule, bool is_whole);

  RuleSet& rules_;
  Known known_;
};

std::string quoted(const std::string& text);  // as a JSON string

}  // namespace concertina::grammar
