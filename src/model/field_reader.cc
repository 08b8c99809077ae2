#include "model/field_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/json_text.h"

namespace concertina::model {

using nlohmann::json;

namespace {

std::string join(std::initializer_list<std::string_view> keys) {
  return fmt::format("{}", fmt::join(keys, " or "));
}

std::string show_whole(const json& value) {
  if (value.is_array()) {
    std::vector<std::string> items;
    for (std::size_t i = 0; i < std::min<std::size_t>(value.size(), 60); ++i)
      items.push_back(show_whole(value[i]));
    return fmt::format("[{}]", fmt::join(items, ","));
  }
  if (value.is_number_float()) {
    if (const auto name = name_of_stand_in(value.get<double>()); !name.empty()) return std::string(name);
  }
  return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

std::string show(const json& value) {
  std::string text = show_whole(value);
  if (text.size() > 60) text = text.substr(0, 57) + "...";
  return text;
}

// The number if it is whole, however it is spelt (8, 8.0, 8e0), and fits.
template <typename Integer>
std::optional<Integer> whole_number(const json& value) {
  if (value.is_number_float()) {
    const auto number = value.get<double>();
    const bool fits = number >= static_cast<double>(std::numeric_limits<Integer>::min()) &&
                      number < static_cast<double>(std::numeric_limits<Integer>::max());
    return fits && number == std::trunc(number) ? std::optional(static_cast<Integer>(number)) : std::nullopt;
  }
  if (value.is_number_unsigned()) {
    const auto number = value.get<std::uint64_t>();
    return std::in_range<Integer>(number) ? std::optional(static_cast<Integer>(number)) : std::nullopt;
  }
  if (!value.is_number_integer() || !std::in_range<Integer>(value.get<std::int64_t>())) return std::nullopt;
  return static_cast<Integer>(value.get<std::int64_t>());
}

}  // namespace

const json* FieldReader::find(std::string_view key) const {
  const auto found = object_.find(key);
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

void FieldReader::reject(ModelError code, std::string_view key, const std::string& text) {
  if (!error_) error_ = Error(code, fmt::format("{}{}: {}", path_, key, text));
}

void FieldReader::unsupported(std::string_view key, const std::string& found, const std::string& supported) {
  reject(ModelError::kUnsupported, key, fmt::format("found {}, supported: {}", found, supported));
}

void FieldReader::take_error_of(const FieldReader& nested) {
  if (!error_) error_ = nested.error_;
}

Status FieldReader::status() const {
  if (error_) return fail(*error_);
  return {};
}

std::optional<std::uint64_t> FieldReader::whole(std::initializer_list<std::string_view> keys,
                                                std::uint64_t min, std::uint64_t max) {
  for (const auto key : keys) {
    const json* value = find(key);
    if (value == nullptr) continue;
    const auto number = whole_number<std::uint64_t>(*value);
    if (!number || *number < min || *number > max) {
      reject(ModelError::kBadField, key,
             fmt::format("found {}, expected an integer in {}..{}", show(*value), min, max));
      return min;
    }
    return number;
  }
  return std::nullopt;
}

std::size_t FieldReader::count(std::initializer_list<std::string_view> keys, std::size_t max,
                               std::optional<std::size_t> fallback) {
  if (const auto value = whole(keys, 1, max)) return *value;
  if (!fallback)
    reject(ModelError::kBadField, join(keys), fmt::format("missing, expected an integer in 1..{}", max));
  return fallback.value_or(1);
}

std::size_t FieldReader::count_or_zero(std::initializer_list<std::string_view> keys, std::size_t max) {
  if (const auto value = whole(keys, 0, max)) return *value;
  reject(ModelError::kBadField, join(keys), fmt::format("missing, expected an integer in 0..{}", max));
  return 0;
}

std::optional<double> FieldReader::real(std::string_view key) {
  const json* value = find(key);
  if (value == nullptr) return std::nullopt;
  const bool is_stand_in = value->is_number_float() && !name_of_stand_in(value->get<double>()).empty();
  if (value->is_number() && !is_stand_in) return value->get<double>();
  reject(ModelError::kBadField, key, fmt::format("found {}, expected a number", show(*value)));
  return std::nullopt;
}

double FieldReader::number(std::string_view key, double above, double max, double fallback) {
  const double value = real(key).value_or(fallback);
  if (value > above && value <= max) return value;
  reject(ModelError::kBadField, key,
         fmt::format("found {}, expected above {} and at most {}", value, above, max));
  return fallback;
}

double FieldReader::number_from(std::string_view key, double min, double max, double fallback) {
  const double value = real(key).value_or(fallback);
  if (value >= min && value <= max) return value;
  reject(ModelError::kBadField, key, fmt::format("found {}, expected {} to {}", value, min, max));
  return fallback;
}

std::int64_t FieldReader::integer(std::string_view key, std::int64_t min, std::int64_t max,
                                  std::int64_t fallback) {
  const json* value = find(key);
  if (value == nullptr) return fallback;
  const auto number = whole_number<std::int64_t>(*value);
  if (number && *number >= min && *number <= max) return *number;
  reject(ModelError::kBadField, key,
         fmt::format("found {}, expected an integer in {}..{}", show(*value), min, max));
  return fallback;
}

bool FieldReader::flag(std::string_view key, bool fallback) {
  const json* value = find(key);
  if (value == nullptr) return fallback;
  if (value->is_boolean()) return value->get<bool>();
  reject(ModelError::kBadField, key, fmt::format("found {}, expected true or false", show(*value)));
  return fallback;
}

std::string FieldReader::text(std::string_view key, std::string fallback) {
  const json* value = find(key);
  if (value == nullptr) return fallback;
  if (value->is_string()) return value->get<std::string>();
  reject(ModelError::kBadField, key, fmt::format("found {}, expected a string", show(*value)));
  return fallback;
}

std::vector<std::size_t> FieldReader::counts(std::string_view key, std::size_t max) {
  std::vector<std::size_t> result;
  const json* list = find(key);
  if (list == nullptr) return result;
  const json one = json::array({*list});
  for (const json& value : list->is_array() ? *list : one) {
    const auto number = whole_number<std::uint64_t>(value);
    if (!number || *number > max) {
      reject(ModelError::kBadField, key,
             fmt::format("found {}, expected integers in 0..{}", show(*list), max));
      break;
    }
    result.push_back(*number);
  }
  return result;
}

std::vector<TokenId> FieldReader::tokens(std::string_view key, std::size_t vocab_size) {
  std::vector<TokenId> result;
  for (const std::size_t id : counts(key, vocab_size - 1)) result.push_back(static_cast<TokenId>(id));
  return result;
}

const json* FieldReader::object(std::string_view key) {
  const json* value = find(key);
  if (value == nullptr || value->is_object()) return value;
  reject(ModelError::kBadField, key, fmt::format("found {}, expected an object", show(*value)));
  return nullptr;
}

}  // namespace concertina::model
