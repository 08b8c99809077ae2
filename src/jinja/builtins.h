#pragma once

#include <cstdint>
#include <ctime>
#include <string_view>

#include "jinja/value.h"

// What a template finds without defining it. Names and results are Jinja's, and transformers' for tojson,
// raise_exception and strftime_now.
namespace concertina::jinja {

Result<Value> apply_filter(std::string_view name, const Value& subject, const Arguments& arguments);

// What a filter walks through: nothing, the items of what it is put on, all that is in them, or the items for
// each item. An unknown filter: all.
enum class FilterCost : std::uint8_t { kConstant, kItems, kWhole, kSquare };
FilterCost cost_of_filter(std::string_view name);

Result<bool> apply_test(std::string_view name, const Value& subject, const Arguments& arguments);

// object.name and object[index]; undefined where there is none.
Result<Value> attribute(const Value& object, std::string_view name);
Result<Value> subscript(const Value& object, const Value& index);
Result<Value> slice(const Value& object, const Value* start, const Value* stop, const Value* step);

// Python's method of a text, dictionary or list, bound to it; undefined where there is none.
Value find_method(const Value& object, std::string_view name);

// range, namespace, dict, raise_exception, strftime_now (`now` is the time it is, in the zone wanted).
Dict make_globals(const std::tm& now);

}  // namespace concertina::jinja
