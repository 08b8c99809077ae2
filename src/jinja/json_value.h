#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "jinja/value.h"

namespace concertina::jinja {

// A binary value stands for an integer beyond 64 bits; its bytes are the digits.
Result<Value> from_json(const nlohmann::ordered_json& json);

struct JsonStyle {
  int indent = -1;  // < 0: all on one line
  enum class Ascii { kKeep, kEscape } ascii = Ascii::kKeep;
  enum class Keys { kAsTheyCame, kSorted } keys = Keys::kAsTheyCame;
  std::string item_separator = ", ", key_separator = ": ";
};
Result<std::string> to_json(const Value& value, const JsonStyle& style);  // as Python's json.dumps writes it

}  // namespace concertina::jinja
