#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace concertina::tools {

enum class Read { kOk, kUnclear, kWrong };  // kUnclear: the text ends within it

// Reads JSON from the beginning of a text that may be cut off. What is nested is checked as far as its
// brackets and strings go.
class JsonCursor {
 public:
  explicit JsonCursor(std::string_view text, std::size_t at = 0) : text_(text), at_(at) {}

  std::size_t at() const { return at_; }
  std::string_view rest() const { return text_.substr(at_); }
  void skip_space();
  Read byte(char expected);                          // after white space
  Read one_of(std::string_view bytes, char& found);  // after white space
  Read string(std::string_view& raw);                // after white space, with its quotes
  Read value(std::string_view& raw);  // after white space; a number ends before what is none of it

 private:
  std::string_view text_;
  std::size_t at_;
};

// Of a JSON string with its quotes. Nothing where it is no valid one.
std::optional<std::string> unquoted(std::string_view raw);
// As the inside of a JSON string. Bytes beyond ASCII stay as they are.
std::string escaped(std::string_view text);
bool is_json(std::string_view text);

// Follows an object or a list as it comes, a byte at a time: brackets and strings, nothing else.
class JsonValue {
 public:
  enum class State { kMore, kOver, kBroken };
  struct Step {
    State state = State::kMore;
    std::size_t n_bytes = 0;  // of the value
  };
  // kBroken: the byte after n_bytes cannot be in a JSON text.
  Step take(std::string_view text);

 private:
  State take(char byte);
  std::size_t depth_ = 0;
  enum class In { kValue, kString, kEscape } in_ = In::kValue;
};

}  // namespace concertina::tools
