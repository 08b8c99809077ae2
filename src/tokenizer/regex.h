#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

namespace concertina::tokenizer {

struct TextRange {
  std::size_t begin = 0, end = 0;  // byte offsets
  bool empty() const { return begin == end; }
  std::string_view of(std::string_view text) const { return text.substr(begin, end - begin); }
};

// A split expression of a tokenizer.json (Oniguruma's syntax), translated (regex_syntax.h) and run by PCRE2
// with JIT, UTF and UCP. Immutable: any thread may search.
class Regex {
 public:
  static Result<Regex> compile(std::string_view pattern);
  static Result<Regex> compile_literal(std::string_view text);

  // Calls `visit` for each match, from left to right; an empty one too, but where the one before it ends.
  // `text` is valid UTF-8.
  // Where PCRE2 gives up (its match limit), the rest of the text counts as not matching.
  void for_each_match(std::string_view text, const std::function<void(TextRange)>& visit) const;

 private:
  explicit Regex(std::shared_ptr<const void> code) : code_(std::move(code)) {}
  static Result<Regex> compile_as(std::string_view pattern, std::uint32_t options);
  std::shared_ptr<const void> code_;  // pcre2_code: its header stays out of ours
};

}  // namespace concertina::tokenizer
