#pragma once

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <string>

#include "cli/sizes.h"

namespace concertina::cli {

// What values of flags must be, where CLI11's own readers take more. Each names what it found; CLI11 adds the
// flag.

// Digits that fit: the library's own reading wraps and saturates.
inline const CLI::Validator kWholeNumber(
    [](const std::string& text) {
      std::uint64_t number = 0;
      const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
      const bool is_one = error == std::errc{} && end == text.data() + text.size();
      return is_one ? std::string{} : fmt::format("\"{}\" is not a whole number below 2^64", text);
    },
    "UINT64");
inline const CLI::Validator kNotNan(  // a range lets NaN through
    [](const std::string& text) {
      const bool is_nan = std::isnan(std::strtod(text.c_str(), nullptr));
      return is_nan ? fmt::format("\"{}\" is not a number of seconds", text) : std::string{};
    },
    "");
// An empty one is most often a variable that is not set, and must not mean something else.
inline const CLI::Validator kNotEmpty(
    [](const std::string& text) {
      return std::string(text.empty() ? "it is empty: leave the flag out" : "");
    },
    "");

inline const CLI::Validator kSize(
    [](const std::string& text) {
      try {
        parse_bytes(text);
        return std::string();
      } catch (const std::exception& error) {
        return std::string(error.what());
      }
    },
    "");

}  // namespace concertina::cli
