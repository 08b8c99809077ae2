#pragma once

#include <cstdint>
#include <string>

namespace concertina::cli {

// "256MiB", "4GiB", "1.5GB", "1048576", "2g" -> bytes. Throws CLI::ValidationError with what was found and
// expected: for CLI11, which catches it.
std::uint64_t parse_bytes(const std::string& text);

}  // namespace concertina::cli
