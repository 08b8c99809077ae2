#pragma once

#include <map>
#include <string>
#include <vector>

#include "tokenizer/jinja/syntax.h"

namespace concertina::tokenizer::jinja {

// Arguments of a call, evaluated: positional ones in order, and named ones.
struct Arguments {
  std::vector<Value> positional;
  std::map<std::string, Value> named;

  std::size_t size() const { return positional.size() + named.size(); }
  // By place, or by name, or what stands for an absent one.
  Value get(std::size_t place, const char* name, Value absent) const;
};

bool is_true(const Value& value);         // Python's truth
std::string to_text(const Value& value);  // Python's str()
std::string to_json_text(const Value& value,
                         int indent);  // Python's json.dumps(ensure_ascii=False); indent < 0: none
bool equal(const Value& a, const Value& b);
bool less(const Value& a, const Value& b);  // throws std::string where Python would raise
bool contains(const Value& container, const Value& item);
Value items_of(const Value& value);  // what a for loop walks: elements, keys or characters

// Each throws std::string, saying what is wrong; the caller knows the line.
Value apply_binary(const std::string& op, const Value& left, const Value& right);
Value apply_filter(const std::string& name, const Value& input, const Arguments& arguments);
bool apply_test(const std::string& name, const Value& input, const Arguments& arguments);
Value call_method(const Value& object, const std::string& name, const Arguments& arguments);
bool has_method(const Value& object, const std::string& name);
Value get_index(const Value& object, const Value& index);  // undefined where there is none
Value get_slice(const Value& object, const Value& begin, const Value& end, const Value& step);

}  // namespace concertina::tokenizer::jinja
