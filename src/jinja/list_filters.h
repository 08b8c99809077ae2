#pragma once

#include <string_view>

#include "jinja/builtins.h"
#include "jinja/value.h"

namespace concertina::jinja {

using Filter = Result<Value> (*)(const Value& subject, const Arguments& arguments);

struct NamedFilter {
  std::string_view name;
  Filter apply;
  FilterCost cost = FilterCost::kWhole;
};

// Filters over lists and dictionaries; nullptr: none is called so. Where Jinja makes a generator, they make a
// list.
const NamedFilter* find_list_filter(std::string_view name);

}  // namespace concertina::jinja
