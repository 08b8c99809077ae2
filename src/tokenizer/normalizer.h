#pragma once

#include <array>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "tokenizer/normal_form.h"
#include "tokenizer/regex.h"

namespace concertina::tokenizer {

// The steps of tokenizer.json's "normalizer".
struct PrependStep {
  std::string text;  // before a text that is not empty
};
struct ReplaceStep {
  std::string pattern, content;  // each place of `pattern`, which is not empty
};
struct ReplaceMatchesStep {
  Regex expression;
  std::string content;
};
struct StripStep {
  bool left = true, right = true;  // white space
};
using NormalizerStep = std::variant<NormalForm, PrependStep, ReplaceStep, ReplaceMatchesStep, StripStep>;

std::string replace_all(std::string_view text, std::string_view pattern, std::string_view content);

// What is done to a text before added tokens are looked for in normalized text. Immutable: any thread may use
// it. Time is linear in the text, as far as an expression's is.
class Normalizer {
 public:
  Normalizer() = default;  // does nothing
  explicit Normalizer(std::vector<NormalizerStep> steps) : steps_(std::move(steps)) {}

  // `text` is valid UTF-8. Returns a part of it, or a view into `buffers`.
  using Buffers = std::array<std::string, 2>;
  std::string_view apply(std::string_view text, Buffers& buffers) const;
  std::string operator()(std::string_view text) const;

  const std::vector<NormalizerStep>& steps() const { return steps_; }

 private:
  std::vector<NormalizerStep> steps_;
};

}  // namespace concertina::tokenizer
