#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "tokenizer/regex.h"

namespace concertina::tokenizer {

// What becomes of a match of a split expression: the names are tokenizer.json's.
enum class SplitBehavior { kRemoved, kIsolated, kMergedWithPrevious, kMergedWithNext, kContiguous };
enum class SplitSide { kMatch, kInverted };  // inverted: what the expression does not match is the match

struct SplitStep {
  Regex expression;
  SplitBehavior behavior = SplitBehavior::kIsolated;
  SplitSide side = SplitSide::kMatch;
};

struct PrefixSpaceStep {};  // ByteLevel's: a piece that does not begin with a space gets one

// SentencePiece's: spaces become `replacement`, which is also put before a piece that does not begin with it.
struct MetaspaceStep {
  enum class Prepend { kAlways, kFirst, kNever };  // first: before the beginning of the whole text only
  enum class Cut { kBeforeReplacement, kNowhere };
  std::string replacement = "\u2581";
  Prepend prepend = Prepend::kAlways;
  Cut cut = Cut::kBeforeReplacement;
};

using PreTokenizerStep = std::variant<SplitStep, PrefixSpaceStep, MetaspaceStep>;
enum class Place { kTextBegin, kInside };  // of a part of a text

// Cuts normalized text into the pieces that BPE works on. Each step sees the pieces of the one before it.
// Immutable: any thread may use it.
class PreTokenizer {
 public:
  using Visitor = std::function<void(std::string_view piece)>;  // a piece is valid during the call only

  PreTokenizer() = default;  // one piece: the text
  explicit PreTokenizer(std::vector<PreTokenizerStep> steps) : steps_(std::move(steps)) {}

  void split(std::string_view text, Place place, const Visitor& visit) const {
    split_from(0, text, place, visit);
  }

  bool removes_text() const;  // some step leaves out what it matches

 private:
  void split_from(std::size_t step, std::string_view text, Place place, const Visitor& visit) const;
  void apply(const SplitStep& split, std::size_t next, std::string_view text, Place place,
             const Visitor& visit) const;
  void apply(const PrefixSpaceStep& step, std::size_t next, std::string_view text, Place place,
             const Visitor& visit) const;
  void apply(const MetaspaceStep& metaspace, std::size_t next, std::string_view text, Place place,
             const Visitor& visit) const;

  std::vector<PreTokenizerStep> steps_;
};

std::vector<TextRange> split_ranges(const SplitStep& step, std::string_view text);  // none is empty

}  // namespace concertina::tokenizer
