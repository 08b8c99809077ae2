#include "cli/sizes.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <map>

#include "cli/error.h"

namespace concertina::cli {

Result<std::uint64_t> parse_bytes(const std::string& text) {
  static const std::map<std::string, double> kUnits{
      {"", 1},       {"b", 1},        {"k", 1024.0},   {"kib", 1024.0}, {"kb", 1e3},
      {"m", 0x1p20}, {"mib", 0x1p20}, {"mb", 1e6},     {"g", 0x1p30},   {"gib", 0x1p30},
      {"gb", 1e9},   {"t", 0x1p40},   {"tib", 0x1p40}, {"tb", 1e12}};
  std::size_t n_read = 0;
  double number = -1;
  const bool is_decimal = text.find_first_of("xX") == std::string::npos;  // stod() reads 0x10 as well
  try {
    if (is_decimal) number = std::stod(text, &n_read);
  } catch (const std::exception&) {
  }
  std::string unit = text.substr(n_read);
  std::erase(unit, ' ');
  std::transform(unit.begin(), unit.end(), unit.begin(), [](unsigned char c) { return std::tolower(c); });
  const auto factor = kUnits.find(unit);
  if (n_read == 0 || !std::isfinite(number) || number <= 0 || factor == kUnits.end() ||
      number * factor->second > 1e15) {
    return fail(
        CliError::kBadFlag,
        fmt::format("\"{}\" is not a size: give bytes, or a number with KiB, MiB, GiB (256MiB)", text));
  }
  return static_cast<std::uint64_t>(number * factor->second);
}

std::string text_of_bytes(std::uint64_t bytes) {
  for (const auto& [unit, shift] : {std::pair{"GiB", 30}, {"MiB", 20}, {"KiB", 10}}) {
    if (bytes != 0 && bytes % (std::uint64_t{1} << shift) == 0)
      return fmt::format("{}{}", bytes >> shift, unit);
  }
  return std::to_string(bytes);
}

}  // namespace concertina::cli
