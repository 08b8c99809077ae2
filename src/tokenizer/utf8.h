#pragma once

#include <string>
#include <string_view>

namespace concertina::tokenizer {

// Bytes -> valid UTF-8: each maximal part of an ill-formed sequence becomes one U+FFFD (Unicode 15, 3.9,
// "U+FFFD substitution of maximal subparts"), as Rust's from_utf8_lossy does.
std::string to_valid_utf8(std::string_view bytes);

// How many leading bytes can be decoded now: all but a tail that is the beginning of a character still to be
// completed.
std::size_t complete_length(std::string_view bytes);

void append_utf8(std::string& out, char32_t code_point);

// Decodes the character at the start of valid UTF-8; 0 bytes if text is empty.
struct CodePoint {
  char32_t value = 0;
  std::size_t n_bytes = 0;
};
CodePoint first_code_point(std::string_view text);

}  // namespace concertina::tokenizer
