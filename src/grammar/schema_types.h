#pragma once

#include <optional>

#include "grammar/schema_reader.h"

// What a schema says of values of one type: each appends them between two nodes.
namespace concertina::grammar {

Status append_object(SchemaReader& reader, const PlacedSchema& placed, NodeIndex from, NodeIndex to);
Status append_array(SchemaReader& reader, const PlacedSchema& placed, NodeIndex from, NodeIndex to);
Status append_string(SchemaReader& reader, const PlacedSchema& placed, NodeIndex from, NodeIndex to);
Status append_integer(SchemaReader& reader, const PlacedSchema& placed, NodeIndex from, NodeIndex to);
Status append_number(SchemaReader& reader, const PlacedSchema& placed, NodeIndex from, NodeIndex to);

inline constexpr const char* kNumberBounds[] = {"minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"};
bool has_number_bounds(const Json& schema);
// Whole numbers from `low` to `high`, or without an end.
void append_whole_numbers(RuleSet& rules, NodeIndex from, NodeIndex to, std::uint64_t low,
                          std::optional<std::uint64_t> high);

}  // namespace concertina::grammar
