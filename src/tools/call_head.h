#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "tools/call_format.h"

namespace concertina::tools {

// What is around a call's arguments, for who reads on after them.
struct Around {
  enum class Object : std::uint8_t { kNo, kYes } object = Object::kNo;  // it is still open
  enum class List : std::uint8_t { kNo, kYes } list = List::kNo;
};

// What comes before a call's arguments. All decisions hang on the text from its beginning alone, never on
// where it was cut off.
struct CallHead {
  enum class Is : std::uint8_t { kUnclear, kNone, kCall } is = Is::kNone;
  std::string name, id;
  std::size_t n_bytes = 0;
  std::optional<std::string> arguments;  // within the head; nothing: they follow
  Around around;
};

enum class Place : std::uint8_t { kAtMark, kInList };
enum class Keys : std::uint8_t { kAny, kKnown };  // of an object around a call: others make it none

CallHead read_head(const CallFormat& format, std::string_view text, Place place);

// What comes after a call's arguments.
struct CallTail {
  enum class Is : std::uint8_t { kUnclear, kOver } is = Is::kOver;
  std::size_t n_bytes = 0;
  enum class Next : std::uint8_t { kContent, kCallInList } next = Next::kContent;
};
CallTail read_tail(const CallFormat& format, std::string_view text, Around around);

}  // namespace concertina::tools
