#include "tokenizer/normal_form.h"

#include <utf8proc.h>

#include <algorithm>
#include <vector>

#include "base/check.h"
#include "base/utf8.h"

namespace concertina::tokenizer {

namespace {

utf8proc_propval_t combining_class(utf8proc_int32_t code_point) {
  return utf8proc_get_property(code_point)->combining_class;
}

std::vector<utf8proc_int32_t> decompose(std::string_view text, int options) {
  constexpr int kMaxExpansion = 32;  // the longest decomposition has 18
  std::vector<utf8proc_int32_t> out;
  out.reserve(text.size());
  while (!text.empty()) {
    const Utf8Unit unit = next_utf8(text);
    utf8proc_int32_t buffer[kMaxExpansion];
    int boundary_class = 0;
    const auto n =
        utf8proc_decompose_char(static_cast<utf8proc_int32_t>(unit.code_point), buffer, kMaxExpansion,
                                static_cast<utf8proc_option_t>(options), &boundary_class);
    CHECK(n >= 0 && n <= kMaxExpansion, "decomposition of U+{:X}",
          static_cast<std::uint32_t>(unit.code_point));
    out.insert(out.end(), buffer, buffer + n);
    text.remove_prefix(unit.length);
  }
  return out;
}

// Canonical ordering. Ours because utf8proc_decompose sorts by neighbour swaps: quadratic in a run of marks,
// which a request can make as long as it likes.
void order_combining_marks(std::vector<utf8proc_int32_t>& code_points) {
  for (auto begin = code_points.begin(); begin != code_points.end();) {
    if (combining_class(*begin) == 0) {
      ++begin;
      continue;
    }
    const auto end = std::find_if(begin, code_points.end(), [](auto c) { return combining_class(c) == 0; });
    std::stable_sort(begin, end, [](auto a, auto b) { return combining_class(a) < combining_class(b); });
    begin = end;
  }
}

bool is_surely_nfc(char32_t c) {  // nor does it compose with what comes before it; common blocks only
  return c < 0x300 || (c >= 0x400 && c < 0x483) || (c >= 0x3000 && c < 0x3099) ||
         (c >= 0x4E00 && c < 0xA000) || (c >= 0xAC00 && c < 0xD7A4) || (c >= 0xFF00 && c < 0xFFF0) ||
         (c >= 0x1F300 && c < 0x1FB00);
}

}  // namespace

std::string to_normal_form(NormalForm form, std::string_view text) {
  if (is_ascii(text)) return std::string(text);
  const bool compatible = form == NormalForm::kNfkc || form == NormalForm::kNfkd;
  const bool composed = form == NormalForm::kNfc || form == NormalForm::kNfkc;
  if (form == NormalForm::kNfc && is_surely_nfc(text)) return std::string(text);
  std::vector<utf8proc_int32_t> code_points =
      decompose(text, UTF8PROC_DECOMPOSE | (compatible ? UTF8PROC_COMPAT : 0));
  order_combining_marks(code_points);
  auto n = static_cast<utf8proc_ssize_t>(code_points.size());
  if (composed) {
    n = utf8proc_normalize_utf32(code_points.data(), n,
                                 static_cast<utf8proc_option_t>(UTF8PROC_COMPOSE | UTF8PROC_STABLE));
  }
  CHECK(n >= 0, "composition");
  std::string out;
  out.reserve(text.size());
  for (utf8proc_ssize_t i = 0; i < n; ++i) append_utf8(static_cast<char32_t>(code_points[i]), out);
  return out;
}

std::string to_nfc(std::string_view text) { return to_normal_form(NormalForm::kNfc, text); }

bool is_surely_nfc(std::string_view text) {
  while (!text.empty()) {
    const Utf8Unit unit = next_utf8(text);
    if (!is_surely_nfc(unit.code_point)) return false;
    text.remove_prefix(unit.length);
  }
  return true;
}

}  // namespace concertina::tokenizer
