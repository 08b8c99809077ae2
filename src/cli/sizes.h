#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"

namespace concertina::cli {

// "256MiB", "4GiB", "1.5GB", "1048576", "2g" -> bytes. kBadFlag says what was found and expected.
Result<std::uint64_t> parse_bytes(const std::string& text);
// "256MiB": the largest unit of which they are a whole number.
std::string text_of_bytes(std::uint64_t bytes);

}  // namespace concertina::cli
