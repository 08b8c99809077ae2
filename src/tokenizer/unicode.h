#pragma once

#include <cstddef>
#include <string_view>

namespace concertina::tokenizer {

bool is_white_space(char32_t c);     // Unicode's White_Space
bool is_word_character(char32_t c);  // letters, marks, decimal digits, letter numbers, connectors, joiners

// Where the last character of text[0, end) begins. `end` > 0, and `text` is valid UTF-8.
std::size_t character_begin_before(std::string_view text, std::size_t end);

// `begin` moved back over white space, not beyond `limit`; `end` moved on over white space.
std::size_t skip_space_left(std::string_view text, std::size_t begin, std::size_t limit);
std::size_t skip_space_right(std::string_view text, std::size_t end);

}  // namespace concertina::tokenizer
