#include "tokenizer/token_bound.h"

#include <algorithm>
#include <limits>

#include "base/utf8.h"
#include "tokenizer/byte_level.h"

namespace concertina::tokenizer {

namespace {

constexpr std::size_t kNoBound = std::numeric_limits<std::size_t>::max();

// How many bytes of text a normalizer may make of one byte, or of one character.
class Shrinking {
 public:
  explicit Shrinking(const Normalizer& normalizer) {
    for (const NormalizerStep& step : normalizer.steps()) std::visit([this](const auto& s) { add(s); }, step);
  }

  bool has_bound() const { return has_bound_; }

  // `bytes` are a token's: it may begin and end within a character.
  std::size_t most_bytes_before(std::string_view bytes) const {
    std::size_t n = 0;
    while (!bytes.empty()) {
      const Utf8Unit unit = next_utf8(bytes);
      n += unit.kind == Utf8Kind::kValid ? most_for_character(unit) : kMostForCharacter * unit.length;
      bytes.remove_prefix(unit.length);
    }
    return n * factor_;
  }

 private:
  static constexpr std::size_t kMostForCharacter = 32;  // in any form

  void add(NormalForm form) { forms_.push_back(form); }
  void add(const PrependStep&) {}
  void add(const ReplaceStep& step) {
    if (step.content.empty()) {
      has_bound_ = false;
    } else {
      factor_ *= (step.pattern.size() + step.content.size() - 1) / step.content.size();
    }
  }
  void add(const ReplaceMatchesStep&) { has_bound_ = false; }
  void add(const StripStep& step) { has_bound_ = has_bound_ && !step.left && !step.right; }

  std::size_t most_for_character(const Utf8Unit& unit) const {
    if (forms_.empty()) return unit.length;
    if (forms_.size() > 1) return unit.length * kMostForCharacter;  // no published file has two
    return tokenizer::most_bytes_before(forms_[0], unit.code_point);
  }

  std::vector<NormalForm> forms_;
  std::size_t factor_ = 1;
  bool has_bound_ = true;
};

bool takes_any_length(const BpeModel& model, const std::vector<AddedToken>& added,
                      const PreTokenizer& pre_tokenizer) {
  const auto takes_space = [](const AddedToken& token) { return token.lstrip || token.rstrip; };
  return pre_tokenizer.removes_text() || model.merges_or_drops_unknown() ||
         std::any_of(added.begin(), added.end(), takes_space);
}

}  // namespace

// For form C: Kelvin sign, grave accent (U+1FEF) and Greek question mark become ASCII. The rest is rounded
// up: Greek iota with two marks, written with U+1FBE, has 7 bytes for 2; Hangul's jamo have 9 for 3. A test
// counts them all.
std::size_t most_bytes_before(NormalForm form, char32_t code_point) {
  if (form != NormalForm::kNfc) return code_point < 0x80 ? 4 : 16;
  if (code_point == U'K' || code_point == U'`' || code_point == U';') return 3;
  if (code_point < 0x80) return 1;
  return code_point < 0x800 ? 7 : 9;
}

std::size_t most_bytes_per_token(const Vocabulary& vocabulary, const BpeModel& model,
                                 const std::vector<AddedToken>& added, const Normalizer& normalizer,
                                 const PreTokenizer& pre_tokenizer) {
  const Shrinking shrinking(normalizer);
  if (!shrinking.has_bound() || takes_any_length(model, added, pre_tokenizer)) return kNoBound;
  std::size_t most = shrinking.most_bytes_before("\U0010FFFF");  // an unknown token is at most one character
  for (std::size_t i = 0; i < vocabulary.n_ids(); ++i) {
    const std::string_view text = vocabulary.text_of(static_cast<TokenId>(i));
    const std::string bytes = model.unit() == SymbolUnit::kByte ? token_bytes(text) : std::string(text);
    most = std::max(most, shrinking.most_bytes_before(bytes));
  }
  return most;
}

}  // namespace concertina::tokenizer
