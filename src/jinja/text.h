#pragma once

#include <string>
#include <string_view>
#include <vector>

// Python's text operations over UTF-8: positions and lengths count code points.
namespace concertina::jinja {

std::vector<std::string_view> characters(std::string_view text);
std::size_t n_characters(std::string_view text);

enum class StripSide { kLeft, kRight, kBoth };
std::string_view strip(std::string_view text, StripSide side);  // white space
std::string_view strip(std::string_view text, StripSide side,
                       std::string_view of_these);  // any of these characters

std::string upper(std::string_view text);  // simple case mappings: one character for one
std::string lower(std::string_view text);
std::string capitalize(std::string_view text);  // first upper, the rest lower
std::string title(std::string_view text);       // each word capitalized

std::string replace(std::string_view text, std::string_view from, std::string_view to, std::size_t max_count);
std::vector<std::string_view> split_white_space(std::string_view text, std::size_t max_splits);
std::vector<std::string_view> split_at(std::string_view text, std::string_view separator,
                                       std::size_t max_splits);
std::vector<std::string_view> split_at_from_right(std::string_view text, std::string_view separator,
                                                  std::size_t max_splits);
std::vector<std::string_view> split_lines(std::string_view text);  // at \n, \r\n and \r
bool is_space(std::string_view text);                              // not empty, and white space alone

}  // namespace concertina::jinja
