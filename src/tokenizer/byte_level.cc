#include "tokenizer/byte_level.h"

#include <fmt/format.h>

#include <array>
#include <charconv>

#include "base/utf8.h"

namespace concertina::tokenizer {

namespace {

constexpr std::size_t kAlphabetEnd = 0x100 + 68;

constexpr bool stands_for_itself(unsigned byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || (byte >= 0xAE && byte <= 0xFF);
}

constexpr std::array<char32_t, 256> kCharacterOfByte = [] {
  std::array<char32_t, 256> table{};
  char32_t next = 0x100;
  for (unsigned byte = 0; byte < 256; ++byte) table[byte] = stands_for_itself(byte) ? byte : next++;
  return table;
}();

constexpr std::array<std::int16_t, kAlphabetEnd> kByteOfCharacter = [] {
  std::array<std::int16_t, kAlphabetEnd> table{};
  for (auto& byte : table) byte = -1;
  for (int byte = 0; byte < 256; ++byte) table[kCharacterOfByte[byte]] = static_cast<std::int16_t>(byte);
  return table;
}();

}  // namespace

std::string byte_to_character(std::uint8_t byte) {
  std::string out;
  append_utf8(kCharacterOfByte[byte], out);
  return out;
}

std::string token_bytes(std::string_view token_text) {
  std::string bytes;
  bytes.reserve(token_text.size());
  for (std::string_view rest = token_text; !rest.empty();) {
    const Utf8Unit unit = next_utf8(rest);
    const bool in_alphabet = unit.kind == Utf8Kind::kValid && unit.code_point < kAlphabetEnd &&
                             kByteOfCharacter[unit.code_point] >= 0;
    if (!in_alphabet) return std::string(token_text);
    bytes += static_cast<char>(kByteOfCharacter[unit.code_point]);
    rest.remove_prefix(unit.length);
  }
  return bytes;
}

std::string fallback_token(std::uint8_t byte) { return fmt::format("<0x{:02X}>", byte); }

std::optional<std::uint8_t> byte_of_fallback_token(std::string_view token_text) {
  if (token_text.size() != 6 || !token_text.starts_with("<0x") || token_text[5] != '>') return std::nullopt;
  std::uint8_t byte = 0;
  const char* const end = token_text.data() + 5;
  const auto [stop, error] = std::from_chars(token_text.data() + 3, end, byte, 16);
  return error == std::errc() && stop == end ? std::optional(byte) : std::nullopt;
}

}  // namespace concertina::tokenizer
