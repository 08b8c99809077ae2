#include "tokenizer/regex.h"

#include <cctype>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <fmt/format.h>
#include <pcre2.h>

#include "base/check.h"
#include "base/utf8.h"
#include "tokenizer/error.h"
#include "tokenizer/regex_syntax.h"

namespace concertina::tokenizer {

namespace {

using MatchData = std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)>;

std::string pcre2_message(int code) {
  PCRE2_UCHAR buffer[256];
  const int n = pcre2_get_error_message(code, buffer, sizeof(buffer));
  return n < 0 ? fmt::format("PCRE2 error {}", code) : std::string(reinterpret_cast<const char*>(buffer), n);
}

// Where JIT runs out of its stack the interpreter, whose memory is on the heap, goes on.
int match_at(const pcre2_code* code, std::string_view text, std::size_t begin, pcre2_match_data* data) {
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  const int result = pcre2_match(code, subject, text.size(), begin, PCRE2_NO_UTF_CHECK, data, nullptr);
  if (result != PCRE2_ERROR_JIT_STACKLIMIT) return result;
  return pcre2_match(code, subject, text.size(), begin, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, data, nullptr);
}

}  // namespace

Result<Regex> Regex::compile_as(std::string_view pattern, std::uint32_t options) {
  int error_code = 0;
  PCRE2_SIZE error_offset = 0;
  pcre2_code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                                   options | PCRE2_UTF | PCRE2_UCP, &error_code, &error_offset, nullptr);
  if (code == nullptr) {
    return fail(TokenizerError::kInvalid, fmt::format("the expression does not compile: {} at byte {} of {}",
                                                      pcre2_message(error_code), error_offset, pattern));
  }
  pcre2_jit_compile(
      code, PCRE2_JIT_COMPLETE);  // without JIT (a hardened kernel) the interpreter does the same, slower
  return Regex(std::shared_ptr<const void>(code, [](const void* p) {
    pcre2_code_free(const_cast<pcre2_code*>(static_cast<const pcre2_code*>(p)));
  }));
}

Result<Regex> Regex::compile(std::string_view pattern) {
  ASSIGN_OR_RETURN(const std::string translated, expression_for_pcre2(pattern));
  return compile_as(translated, PCRE2_MULTILINE);  // ^ and $ are about lines in Oniguruma's Ruby syntax
}

Result<Regex> Regex::compile_literal(std::string_view text) {
  std::string quoted;
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < 0x80 && !std::isalnum(static_cast<unsigned char>(c))) quoted += '\\';
    quoted += c;
  }
  return compile_as(quoted, 0);
}

void Regex::for_each_match(std::string_view text, const std::function<void(TextRange)>& visit) const {
  const auto* code = static_cast<const pcre2_code*>(code_.get());
  const MatchData data(pcre2_match_data_create(1, nullptr), &pcre2_match_data_free);
  CHECK(data != nullptr, "out of memory");
  const PCRE2_SIZE* offsets = pcre2_get_ovector_pointer(data.get());
  std::size_t last_end = std::string_view::npos;
  for (std::size_t begin = 0; begin <= text.size();) {
    if (match_at(code, text, begin, data.get()) < 0) return;
    const TextRange match{offsets[0], offsets[1]};
    if (match.empty() && match.end == last_end) {
      if (begin == text.size()) return;
      begin += next_utf8(text.substr(begin)).length;
      continue;
    }
    visit(match);
    begin = last_end = match.end;
  }
}

}  // namespace concertina::tokenizer
