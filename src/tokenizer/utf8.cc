#include "tokenizer/utf8.h"

namespace concertina::tokenizer {

namespace {

struct Piece {
  std::size_t n_bytes;
  enum class Kind { kValid, kInvalid, kIncomplete } kind;
};

// The character at the start of `bytes`, or the maximal ill-formed part of one (table 3-7 of the Unicode
// standard).
Piece first_piece(std::string_view bytes) {
  const auto at = [&](std::size_t i) { return static_cast<unsigned char>(bytes[i]); };
  const unsigned char lead = at(0);
  if (lead < 0x80) return {1, Piece::Kind::kValid};
  if (lead < 0xC2 || lead > 0xF4) return {1, Piece::Kind::kInvalid};
  const std::size_t length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  unsigned char low = 0x80, high = 0xBF;
  if (lead == 0xE0) low = 0xA0;
  if (lead == 0xED) high = 0x9F;
  if (lead == 0xF0) low = 0x90;
  if (lead == 0xF4) high = 0x8F;
  for (std::size_t i = 1; i < length; ++i) {
    if (i >= bytes.size()) return {i, Piece::Kind::kIncomplete};
    if (at(i) < low || at(i) > high) return {i, Piece::Kind::kInvalid};
    low = 0x80, high = 0xBF;
  }
  return {length, Piece::Kind::kValid};
}

}  // namespace

std::string to_valid_utf8(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size());
  while (!bytes.empty()) {
    const Piece piece = first_piece(bytes);
    if (piece.kind == Piece::Kind::kValid) {
      out.append(bytes.substr(0, piece.n_bytes));
    } else {
      out.append("\xEF\xBF\xBD");
    }
    bytes.remove_prefix(piece.n_bytes);
  }
  return out;
}

std::size_t complete_length(std::string_view bytes) {
  // A character has at most four bytes: only the last three can begin one that is not complete.
  for (std::size_t back = 1; back <= 3 && back <= bytes.size(); ++back) {
    const auto byte = static_cast<unsigned char>(bytes[bytes.size() - back]);
    if ((byte & 0xC0) == 0x80) continue;
    const Piece piece = first_piece(bytes.substr(bytes.size() - back));
    return piece.kind == Piece::Kind::kIncomplete && piece.n_bytes == back ? bytes.size() - back
                                                                           : bytes.size();
  }
  return bytes.size();
}

void append_utf8(std::string& out, char32_t c) {
  const auto put = [&](char32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xC0 | c >> 6), put(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    put(0xE0 | c >> 12), put(0x80 | (c >> 6 & 0x3F)), put(0x80 | (c & 0x3F));
  } else {
    put(0xF0 | c >> 18), put(0x80 | (c >> 12 & 0x3F)), put(0x80 | (c >> 6 & 0x3F)), put(0x80 | (c & 0x3F));
  }
}

CodePoint first_code_point(std::string_view text) {
  if (text.empty()) return {};
  const Piece piece = first_piece(text);
  if (piece.kind != Piece::Kind::kValid) return {0xFFFD, piece.n_bytes};
  const auto lead = static_cast<unsigned char>(text[0]);
  char32_t value = piece.n_bytes == 1 ? lead : lead & (0xFF >> (piece.n_bytes + 1));
  for (std::size_t i = 1; i < piece.n_bytes; ++i)
    value = value << 6 | (static_cast<unsigned char>(text[i]) & 0x3F);
  return {value, piece.n_bytes};
}

}  // namespace concertina::tokenizer
