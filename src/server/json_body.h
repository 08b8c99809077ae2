#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

// JSON as clients send it.
namespace concertina::server {

// Objects keep the order of their keys: templates print them as they came. A binary value stands for an
// integer beyond 64 bits, its bytes are the digits as they were sent: no JSON text makes any other.
using Json = nlohmann::ordered_json;
using JsonMembers = Json::object_t::Container;  // pairs of a key and a value, by position

// Time and memory in proportion to the text's bytes, but for sorting an object's keys. A key that comes twice
// has its last value at its first place, as in Python. The error is what there is to say of the text: "is not
// JSON: ...", "is nested ..." or "has more than ...", in at most some 200 bytes.
//
// Members (each that comes, twice or not), objects and lists are bounded together: each costs an allocation
// or a place in a sort, ten times what a byte of text does. 10,000 messages with calls of tools have 120,000.
inline constexpr std::size_t kMaxJsonItems = 1 << 18;
tl::expected<Json, std::string> parse_json(std::string_view text, std::size_t max_depth);

bool is_wide_integer(const Json& value);
bool is_number(const Json& value);  // a wide integer, too
std::optional<std::int64_t> whole_number(
    const Json& value);  // 8, 8.0 or 8e0; nothing else, and nothing beyond 64 bits
std::optional<double> real_number(const Json& value);  // a wide integer is rounded
std::string in_short(const Json& value);               // as JSON, for messages: at most some 100 bytes
std::string shortened(const std::string& text);        // likewise

// Finds members of one object. Large objects are looked up in their sorted keys: a hash table of a client's
// keys could be made to collide. Keeps a reference.
class MemberIndex {
 public:
  explicit MemberIndex(const JsonMembers& members);
  const Json* find(std::string_view key) const;  // null: there is none

 private:
  const JsonMembers& members_;
  std::vector<std::uint32_t> by_key_;  // positions; empty for a small object
};

}  // namespace concertina::server
