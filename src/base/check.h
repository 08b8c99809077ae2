#pragma once

#include <fmt/format.h>

#include <string_view>

namespace concertina::internal {
[[noreturn]] void check_failed(const char* file, int line, const char* condition, std::string_view message);
}

// Guards an invariant; stays on in release; aborts with file, line and message. Not for expected failures:
// those are Result values. CHECK(n <= capacity, "request {}: {} blocks", id, n);
#define CHECK(condition, ...)                                                                            \
  do {                                                                                                   \
    if (!(condition)) [[unlikely]]                                                                       \
      ::concertina::internal::check_failed(__FILE__, __LINE__, #condition, fmt::format("" __VA_ARGS__)); \
  } while (false)
