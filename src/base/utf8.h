#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace concertina {

enum class Utf8Kind {
  kValid,    // a whole character
  kInvalid,  // bytes that can begin no character; `length` covers the maximal subpart (Unicode, section 3.9)
  kIncomplete,  // all the text that is left: more bytes may make it a character
};

struct Utf8Unit {
  Utf8Kind kind;
  std::size_t length;  // bytes, 1..4
  char32_t code_point = 0;
};

Utf8Unit next_utf8(std::string_view text);  // text is not empty
void append_utf8(char32_t code_point, std::string& out);
bool is_ascii(std::string_view text);
bool is_valid_utf8(std::string_view text);
std::string replace_invalid_utf8(std::string_view text);  // each maximal invalid subpart becomes one U+FFFD

// What becomes U+FFFD: a maximal invalid subpart, or each byte of it.
enum class Replaced { kSubpart, kByte };

// Turns a stream of bytes, cut anywhere, into characters: what comes out for the pieces, joined, is
// replace_invalid_utf8 of the bytes, joined (with kSubpart). Keeps at most 3 bytes back.
class Utf8Stream {
 public:
  explicit Utf8Stream(Replaced replaced = Replaced::kSubpart) : replaced_(replaced) {}

  void push(std::string_view bytes, std::string& out);
  void flush(std::string& out);  // an unfinished character is replaced

 private:
  Replaced replaced_;
  std::string held_back_;
};

}  // namespace concertina
