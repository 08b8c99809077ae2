#pragma once

#include <string>
#include <string_view>

namespace concertina::tokenizer {

enum class NormalForm { kNfc, kNfd, kNfkc, kNfkd };

// A Unicode normalization form of valid UTF-8 (Unicode Standard Annex #15), in time linear in the text but
// for sorting runs of combining marks (n log n). The tables are utf8proc's.
std::string to_normal_form(NormalForm form, std::string_view text);
std::string to_nfc(std::string_view text);

// True: the text is in form C. False: it may be.
bool is_surely_nfc(std::string_view text);

}  // namespace concertina::tokenizer
