#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace concertina::tokenizer {

// A split expression of a pre-tokenizer, compiled by PCRE2 with JIT, UTF and UCP. Any thread.
class SplitExpression {
 public:
  enum class Behavior : std::uint8_t {
    kIsolated,  // matches and what lies between are pieces
    kRemoved,   // only what lies between matches
    kMatches,   // only the matches
  };
  static Result<SplitExpression> compile(const std::string& pattern, Behavior behavior);

  // Appends the pieces of `text`, which is valid UTF-8, in order; none is empty.
  void split(std::string_view text, std::vector<std::string_view>& pieces) const;

 private:
  struct Code;
  std::shared_ptr<const Code> code_;
  Behavior behavior_ = Behavior::kIsolated;
};

}  // namespace concertina::tokenizer
