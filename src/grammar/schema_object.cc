#include <set>

#include "grammar/schema_types.h"

namespace concertina::grammar {
namespace {

struct Member {
  std::string name;
  RuleIndex value = 0;
  bool is_required = false;
};

class ObjectWriter {
 public:
  ObjectWriter(SchemaReader& reader, const PlacedSchema& placed)
      : reader_(reader), rules_(reader.rules()), placed_(placed) {}

  void append(NodeIndex from, NodeIndex to) {
    find_members();
    NodeIndex none = reader_.json().append_space(rules_.append_literal(from, "{"));  // no member so far
    NodeIndex some = rules_.add_node();  // some, and the last one has ended
    for (const Member& member : members_) append_member(member, none, some);
    if (!is_closed_) append_others(none, some);
    const NodeIndex close = rules_.add_node();
    rules_.add_skip(reader_.json().append_space(some), close);
    rules_.add_skip(none, close);
    rules_.add_skip(rules_.append_literal(close, "}"), to);
  }

 private:
  void find_members() {
    const Json& schema = *placed_.schema;
    const Json no_members = Json::object(), no_names = Json::array();
    const Json& properties = schema.contains("properties") ? schema["properties"] : no_members;
    std::set<std::string> required;
    const Json& names = schema.contains("required") ? schema["required"] : no_names;
    for (const auto& name : names) required.insert(name.get<std::string>());
    is_closed_ = schema.contains("additionalProperties") && schema["additionalProperties"] == false;
    for (const auto& [name, value] : properties.items()) {
      const auto pointer = pointer_to(pointer_to(placed_.pointer, "properties"), name);
      members_.push_back({name, reader_.rule_of({&value, pointer}), required.contains(name)});
      names_.insert(name);
    }
    for (const auto& name : names)
      if (names_.insert(name.get<std::string>()).second)
        members_.push_back({name.get<std::string>(), other_value(), true});
  }

  RuleIndex other_value() {
    const Json& schema = *placed_.schema;
    if (!schema.contains("additionalProperties")) return reader_.json().value();
    return reader_.rule_of(
        {&schema["additionalProperties"], pointer_to(placed_.pointer, "additionalProperties")});
  }

  // Moves both places past the member.
  void append_member(const Member& member, NodeIndex& none, NodeIndex& some) {
    const NodeIndex begin = rules_.add_node(), no_member = rules_.add_node(), after = rules_.add_node();
    rules_.add_skip(none, begin);
    rules_.add_skip(reader_.json().append_separator(some, ','), begin);
    const NodeIndex colon =
        reader_.json().append_separator(rules_.append_literal(begin, quoted(member.name)), ':');
    rules_.add_call(colon, member.value, after);
    if (!member.is_required) {
      rules_.add_skip(none, no_member);
      rules_.add_skip(some, after);
    }
    none = no_member;
    some = after;
  }

  void append_others(NodeIndex none, NodeIndex some) {
    auto& json = reader_.json();
    const NodeIndex begin = rules_.add_node();
    rules_.add_skip(none, begin);
    rules_.add_skip(json.append_separator(some, ','), begin);
    const NodeIndex colon = json.append_separator(
        rules_.append_call(begin, names_.empty() ? json.key() : json.key_but(names_)), ':');
    rules_.add_call(colon, other_value(), some);
  }

  SchemaReader& reader_;
  RuleSet& rules_;
  const PlacedSchema& placed_;
  std::vector<Member> members_;  // in the order in which they are written
  std::set<std::string> names_;
  bool is_closed_ = false;
};

}  // namespace

Status append_object(SchemaReader& reader, const PlacedSchema& placed, NodeIndex from, NodeIndex to) {
  ObjectWriter(reader, placed).append(from, to);
  return {};
}

}  // namespace concertina::grammar
