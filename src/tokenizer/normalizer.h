#pragma once

#include <string>
#include <string_view>

namespace concertina::tokenizer {

enum class Normalization { kNone, kNfc };

// Unicode normalization form C of valid UTF-8 (Unicode Standard Annex #15), in time linear in the text but
// for sorting runs of combining marks (n log n). The tables are utf8proc's.
std::string to_nfc(std::string_view text);

std::string normalize(Normalization form, std::string_view text);

}  // namespace concertina::tokenizer
