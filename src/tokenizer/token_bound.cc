#include "tokenizer/token_bound.h"

#include <algorithm>
#include <limits>

#include "tokenizer/utf8.h"

namespace concertina::tokenizer {

namespace {

constexpr std::size_t kNoBound = std::numeric_limits<std::size_t>::max();

// `bytes` are a token's: it may begin and end within a character.
std::size_t most_bytes_before(Normalization normalization, std::string_view bytes) {
  if (normalization == Normalization::kNone) return bytes.size();
  constexpr std::size_t kMostForAByte =
      9;  // the most for any character, as its bytes may be tokens of their own
  std::size_t n = 0;
  while (!bytes.empty()) {
    const Utf8Unit unit = next_utf8(bytes);
    n += unit.kind == Utf8Kind::kValid ? most_bytes_before_nfc(unit.code_point) : kMostForAByte * unit.length;
    bytes.remove_prefix(unit.length);
  }
  return n;
}

bool has_no_bound(const BpeModel& model, const std::vector<AddedToken>& added,
                  const PreTokenizer& pre_tokenizer) {
  const auto takes_space = [](const AddedToken& token) { return token.lstrip || token.rstrip; };
  return pre_tokenizer.removes_text() || model.merges_or_drops_unknown_bytes() ||
         std::any_of(added.begin(), added.end(), takes_space);
}

}  // namespace

// Kelvin sign, grave accent (U+1FEF) and Greek question mark become ASCII. The rest is rounded up: Greek iota
// with two marks, written with U+1FBE, has 7 bytes for 2; Hangul's jamo have 9 for 3. A test counts them all.
std::size_t most_bytes_before_nfc(char32_t code_point) {
  if (code_point == U'K' || code_point == U'`' || code_point == U';') return 3;
  if (code_point < 0x80) return 1;
  return code_point < 0x800 ? 7 : 9;
}

std::size_t most_bytes_per_token(const Vocabulary& vocabulary, const BpeModel& model,
                                 const std::vector<AddedToken>& added, Normalization normalization,
                                 const PreTokenizer& pre_tokenizer) {
  if (has_no_bound(model, added, pre_tokenizer)) return kNoBound;
  std::size_t most = 4;  // an unknown token is one byte, or one character
  for (std::size_t id = 0; id < vocabulary.n_ids(); ++id) {
    most = std::max(most, most_bytes_before(normalization, vocabulary.bytes_of(static_cast<TokenId>(id))));
  }
  return most;
}

}  // namespace concertina::tokenizer
