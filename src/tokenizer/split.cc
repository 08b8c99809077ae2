#include "tokenizer/split.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <array>

#include "base/check.h"
#include "tokenizer/error.h"

namespace concertina::tokenizer {

struct SplitExpression::Code {
  explicit Code(pcre2_code* compiled) : code(compiled) {}
  ~Code() { pcre2_code_free(code); }
  Code(const Code&) = delete;
  Code& operator=(const Code&) = delete;
  pcre2_code* code;
};

Result<SplitExpression> SplitExpression::compile(const std::string& pattern, Behavior behavior) {
  int error = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* const code =
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                    PCRE2_UTF | PCRE2_UCP | PCRE2_NO_UTF_CHECK, &error, &offset, nullptr);
  if (code == nullptr) {
    std::array<PCRE2_UCHAR, 256> text{};
    pcre2_get_error_message(error, text.data(), text.size());
    return fail(TokenizerError::kUnsupported,
                fmt::format("split expression \"{}\": {} at byte {}", pattern,
                            reinterpret_cast<const char*>(text.data()), offset));
  }
  pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);  // where JIT is not available, matching is slower and the same
  SplitExpression expression;
  expression.code_ = std::make_shared<const Code>(code);
  expression.behavior_ = behavior;
  return expression;
}

void SplitExpression::split(std::string_view text, std::vector<std::string_view>& pieces) const {
  pcre2_match_data* const data = pcre2_match_data_create_from_pattern(code_->code, nullptr);
  CHECK(data != nullptr, "out of memory");
  std::size_t done = 0, from = 0;
  while (from <= text.size()) {
    const int n = pcre2_match(code_->code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), from,
                              PCRE2_NO_UTF_CHECK, data, nullptr);
    if (n < 0) break;  // no match; a match limit counts as none: the rest is one piece
    const PCRE2_SIZE* const place = pcre2_get_ovector_pointer(data);
    const std::size_t begin = place[0], end = place[1];
    if (end == begin) {  // an empty match splits nothing
      from = end + 1;
      while (from < text.size() && (static_cast<unsigned char>(text[from]) & 0xC0) == 0x80) ++from;
      continue;
    }
    if (begin > done && behavior_ != Behavior::kMatches) pieces.push_back(text.substr(done, begin - done));
    if (behavior_ != Behavior::kRemoved) pieces.push_back(text.substr(begin, end - begin));
    done = from = end;
  }
  if (done < text.size() && behavior_ != Behavior::kMatches) pieces.push_back(text.substr(done));
  pcre2_match_data_free(data);
}

}  // namespace concertina::tokenizer
