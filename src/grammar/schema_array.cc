#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "grammar/schema_types.h"

namespace concertina::grammar {
namespace {

std::size_t count_of(const Json& schema, const char* keyword, std::size_t otherwise) {
  return schema.contains(keyword) ? schema[keyword].get<std::size_t>() : otherwise;
}

}  // namespace

Status append_array(SchemaReader& reader, const PlacedSchema& placed, NodeIndex from, NodeIndex to) {
  const Json& schema = *placed.schema;
  RuleSet& rules = reader.rules();
  std::vector<RuleIndex> prefix;
  if (schema.contains("prefixItems"))
    for (std::size_t i = 0; i < schema["prefixItems"].size(); ++i)
      prefix.push_back(
          reader.rule_of({&schema["prefixItems"][i], fmt::format("{}/prefixItems/{}", placed.pointer, i)}));
  const bool is_closed = schema.contains("items") && schema["items"] == false;
  std::optional<RuleIndex> item;
  if (!schema.contains("items"))
    item = reader.json().value();
  else if (!is_closed)
    item = reader.rule_of({&schema["items"], pointer_to(placed.pointer, "items")});
  const std::size_t least = count_of(schema, "minItems", 0);
  std::optional<std::size_t> most;
  if (schema.contains("maxItems")) most = count_of(schema, "maxItems", 0);
  if (is_closed) most = std::min(most.value_or(prefix.size()), prefix.size());

  NodeIndex at = reader.json().append_space(rules.append_literal(from, "["));
  const NodeIndex close = rules.add_node();
  const std::size_t n_single = most ? *most : std::max({least, prefix.size(), std::size_t{1}});
  if (least == 0) rules.add_skip(at, close);
  for (std::size_t n = 0; n < n_single && !rules.is_full(); ++n) {
    const NodeIndex begin = n == 0 ? at : reader.json().append_separator(at, ',');
    at = rules.append_call(begin, n < prefix.size() ? prefix[n] : *item);
    if (n + 1 >= least) rules.add_skip(reader.json().append_space(at), close);
  }
  if (!most) rules.add_call(reader.json().append_separator(at, ','), *item, at);
  if (most && *most < least) return {};  // no array
  rules.add_skip(rules.append_literal(close, "]"), to);
  return {};
}

}  // namespace concertina::grammar
