#include "tokenizer/pre_tokenizer.h"

#include <algorithm>
#include <string>

#include "tokenizer/normalizer.h"

namespace concertina::tokenizer {

namespace {

struct Part {
  TextRange range;
  bool is_match;
};

// The text cut at every border of a match.
std::vector<Part> cut(const SplitStep& step, std::string_view text) {
  const bool match_is_match = step.side == SplitSide::kMatch;
  std::vector<Part> parts;
  std::size_t done = 0;
  step.expression.for_each_match(text, [&](TextRange match) {
    if (match.begin > done) parts.push_back({{done, match.begin}, !match_is_match});
    parts.push_back({match, match_is_match});
    done = match.end;
  });
  if (done < text.size()) parts.push_back({{done, text.size()}, !match_is_match});
  return parts;
}

void merge_equal_neighbours(std::vector<Part>& parts) {
  std::vector<Part> merged;
  for (const Part& part : parts) {
    if (!merged.empty() && merged.back().is_match == part.is_match) {
      merged.back().range.end = part.range.end;
    } else {
      merged.push_back(part);
    }
  }
  parts = std::move(merged);
}

// Each first match of a run joins what comes before it in `parts`; run over the reversed parts: what comes
// after it.
void merge_match_with_one_before(std::vector<Part>& parts) {
  std::vector<Part> merged;
  bool after_match = false;
  for (const Part& part : parts) {
    if (part.is_match && !after_match && !merged.empty()) {
      TextRange& range = merged.back().range;
      range = {std::min(range.begin, part.range.begin), std::max(range.end, part.range.end)};
    } else {
      merged.push_back(part);
    }
    after_match = part.is_match;
  }
  parts = std::move(merged);
}

void apply_behavior(SplitBehavior behavior, std::vector<Part>& parts) {
  switch (behavior) {
    case SplitBehavior::kIsolated:
      return;
    case SplitBehavior::kRemoved:
      std::erase_if(parts, [](const Part& part) { return part.is_match; });
      return;
    case SplitBehavior::kContiguous:
      return merge_equal_neighbours(parts);
    case SplitBehavior::kMergedWithPrevious:
      return merge_match_with_one_before(parts);
    case SplitBehavior::kMergedWithNext:
      std::reverse(parts.begin(), parts.end());
      merge_match_with_one_before(parts);
      std::reverse(parts.begin(), parts.end());
  }
}

}  // namespace

std::vector<TextRange> split_ranges(const SplitStep& step, std::string_view text) {
  std::vector<Part> parts = cut(step, text);
  apply_behavior(step.behavior, parts);
  std::vector<TextRange> ranges;
  ranges.reserve(parts.size());
  for (const Part& part : parts) {
    if (!part.range.empty()) ranges.push_back(part.range);
  }
  return ranges;
}

bool PreTokenizer::removes_text() const {
  return std::any_of(steps_.begin(), steps_.end(), [](const PreTokenizerStep& step) {
    const auto* split = std::get_if<SplitStep>(&step);
    return split != nullptr && split->behavior == SplitBehavior::kRemoved;
  });
}

void PreTokenizer::split_from(std::size_t step, std::string_view text, Place place,
                              const Visitor& visit) const {
  if (text.empty()) return;
  if (step == steps_.size()) return visit(text);
  std::visit([&](const auto& what) { apply(what, step + 1, text, place, visit); }, steps_[step]);
}

void PreTokenizer::apply(const SplitStep& split, std::size_t next, std::string_view text, Place place,
                         const Visitor& visit) const {
  const auto pass_on = [&](TextRange range) {
    split_from(next, range.of(text), range.begin == 0 ? place : Place::kInside, visit);
  };
  if (split.behavior != SplitBehavior::kIsolated) {
    for (const TextRange range : split_ranges(split, text)) pass_on(range);
    return;
  }
  // What nearly every model does, without a list of the pieces.
  std::size_t done = 0;
  split.expression.for_each_match(text, [&](TextRange match) {
    pass_on({done, match.begin});
    pass_on(match);
    done = match.end;
  });
  pass_on({done, text.size()});
}

void PreTokenizer::apply(const PrefixSpaceStep&, std::size_t next, std::string_view text, Place place,
                         const Visitor& visit) const {
  if (text[0] == ' ') return split_from(next, text, place, visit);
  split_from(next, std::string(" ").append(text), place, visit);
}

void PreTokenizer::apply(const MetaspaceStep& metaspace, std::size_t next, std::string_view text, Place place,
                         const Visitor& visit) const {
  const std::string& replacement = metaspace.replacement;
  std::string changed = replace_all(text, " ", replacement);
  const bool wanted = metaspace.prepend == MetaspaceStep::Prepend::kAlways ||
                      (metaspace.prepend == MetaspaceStep::Prepend::kFirst && place == Place::kTextBegin);
  if (wanted && !changed.starts_with(replacement)) changed.insert(0, replacement);
  const std::string_view all = changed;
  std::size_t begin = 0;
  while (metaspace.cut == MetaspaceStep::Cut::kBeforeReplacement) {
    const std::size_t end = all.find(replacement, begin + 1);
    if (end == std::string_view::npos) break;
    split_from(next, all.substr(begin, end - begin), begin == 0 ? place : Place::kInside, visit);
    begin = end;
  }
  split_from(next, all.substr(begin), begin == 0 ? place : Place::kInside, visit);
}

}  // namespace concertina::tokenizer
