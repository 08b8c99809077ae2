#pragma once

#include <string_view>

#include "tokenizer/jinja/value.h"

namespace concertina::tokenizer::jinja {

using Filter = Result<Value> (*)(const Value& subject, const Arguments& arguments);

struct NamedFilter {
  std::string_view name;
  Filter apply;
};

// Filters over lists and dictionaries; nullptr: none is called so. Where Jinja makes a generator, they make a
// list.
Filter find_list_filter(std::string_view name);

}  // namespace concertina::tokenizer::jinja
