#pragma once

#include <fmt/format.h>

#include <limits>

#include "jinja/value.h"

// Reading the arguments of filters, methods and functions.
namespace concertina::jinja {

inline Result<std::string> text_argument(const Value* given, std::string_view name, std::string fallback) {
  if (given == nullptr) return fallback;
  if (given->is_text()) return given->as_text();
  return template_error(fmt::format("{} must be a string, found a {}", name, given->type_name()));
}

inline Result<std::int64_t> integer_argument(const Value* given, std::string_view name,
                                             std::int64_t fallback) {
  if (given == nullptr) return fallback;
  if (given->is_integral()) return given->as_integer();
  return template_error(fmt::format("{} must be an integer, found a {}", name, given->type_name()));
}

inline bool truth_argument(const Value* given, bool fallback) {
  return given != nullptr ? given->truth() : fallback;
}

// Python's "at most": negative means no limit.
inline Result<std::size_t> count_argument(const Value* given, std::string_view name) {
  ASSIGN_OR_RETURN(const std::int64_t count, integer_argument(given, name, -1));
  return count < 0 ? std::numeric_limits<std::size_t>::max() : static_cast<std::size_t>(count);
}

// text.replace(from, to), refused before it is made where it would be too long.
Result<Value> replaced(std::string_view text, std::string_view from, std::string_view to,
                       std::size_t max_count);

template <typename Views>
Result<Value> text_list(const Views& views) {
  List list;
  for (const auto& view : views) list.emplace_back(std::string(view));
  return Value::list(std::move(list));
}

}  // namespace concertina::jinja
