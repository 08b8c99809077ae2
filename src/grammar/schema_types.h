#pragma once

#include "grammar/schema_reader.h"

// What a schema says of values of one type: each appends them between two nodes.
namespace concertina::grammar {

Status append_object(SchemaReader& reader, const PlacedSchema& placed, NodeIndex from, NodeIndex to);
Status append_array(SchemaReader& reader, const PlacedSchema& placed, NodeIndex from, NodeIndex to);
Status append_string(SchemaReader& reader, const PlacedSchema& placed, NodeIndex from, NodeIndex to);
Status append_integer(SchemaReader& reader, const PlacedSchema& placed, NodeIndex from, NodeIndex to);

}  // namespace concertina::grammar
