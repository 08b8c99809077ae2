#include "tokenizer/normalizer.h"

#include <utf8proc.h>

#include <algorithm>
#include <vector>

#include "base/check.h"
#include "tokenizer/utf8.h"

namespace concertina::tokenizer {

namespace {

utf8proc_propval_t combining_class(utf8proc_int32_t code_point) {
  return utf8proc_get_property(code_point)->combining_class;
}

std::vector<utf8proc_int32_t> decompose(std::string_view text) {
  constexpr int kMaxExpansion = 32;  // the longest canonical decomposition has 4
  std::vector<utf8proc_int32_t> out;
  out.reserve(text.size());
  while (!text.empty()) {
    const Utf8Unit unit = next_utf8(text);
    utf8proc_int32_t buffer[kMaxExpansion];
    int boundary_class = 0;
    const auto n = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(unit.code_point), buffer,
                                           kMaxExpansion, UTF8PROC_DECOMPOSE, &boundary_class);
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

}  // namespace

std::string to_nfc(std::string_view text) {
  if (is_ascii(text)) return std::string(text);
  std::vector<utf8proc_int32_t> code_points = decompose(text);
  order_combining_marks(code_points);
  const auto n =
      utf8proc_normalize_utf32(code_points.data(), static_cast<utf8proc_ssize_t>(code_points.size()),
                               static_cast<utf8proc_option_t>(UTF8PROC_COMPOSE | UTF8PROC_STABLE));
  CHECK(n >= 0, "composition");
  std::string out;
  out.reserve(text.size());
  for (utf8proc_ssize_t i = 0; i < n; ++i) append_utf8(static_cast<char32_t>(code_points[i]), out);
  return out;
}

std::string normalize(Normalization form, std::string_view text) {
  return form == Normalization::kNfc ? to_nfc(text) : std::string(text);
}

}  // namespace concertina::tokenizer
