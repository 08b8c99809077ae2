#pragma once

#include <functional>
#include <string_view>
#include <vector>

#include "tokenizer/regex.h"

namespace concertina::tokenizer {

// What becomes of a match of a split expression: the names are tokenizer.json's.
enum class SplitBehavior { kRemoved, kIsolated, kMergedWithPrevious, kMergedWithNext, kContiguous };
enum class SplitSide { kMatch, kInverted };  // inverted: what the expression does not match is the match
enum class PrefixSpace { kNone, kAdd };      // add: a piece that does not begin with a space gets one

struct SplitStep {
  Regex expression;
  SplitBehavior behavior = SplitBehavior::kIsolated;
  SplitSide side = SplitSide::kMatch;
};

// Cuts normalized text into the pieces that BPE works on. Each step sees the pieces of the one before it.
// Immutable: any thread may use it.
class PreTokenizer {
 public:
  using Visitor = std::function<void(std::string_view piece)>;  // a piece is valid during the call only

  // The first `n_before_prefix` steps come before the ByteLevel step adds its space, the rest after.
  PreTokenizer(std::vector<SplitStep> steps, std::size_t n_before_prefix, PrefixSpace prefix_space)
      : steps_(std::move(steps)), n_before_prefix_(n_before_prefix), prefix_space_(prefix_space) {}

  void split(std::string_view text, const Visitor& visit) const { split_from(0, text, visit); }

  bool removes_text() const;  // some step leaves out what it matches

 private:
  void split_from(std::size_t step, std::string_view text, const Visitor& visit) const;
  void apply_step(std::size_t step, std::string_view text, const Visitor& visit) const;

  std::vector<SplitStep> steps_;
  std::size_t n_before_prefix_;
  PrefixSpace prefix_space_;
};

std::vector<TextRange> split_ranges(const SplitStep& step, std::string_view text);  // none is empty

}  // namespace concertina::tokenizer
