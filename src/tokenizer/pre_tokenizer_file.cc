#include "tokenizer/pre_tokenizer_file.h"

#include "tokenizer/component_field.h"

namespace concertina::tokenizer {

namespace {

constexpr std::string_view kGpt2Expression =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

Result<SplitBehavior> read_behavior(const JsonField& field) {
  ASSIGN_OR_RETURN(const auto behavior_field, field.at("behavior"));
  ASSIGN_OR_RETURN(const auto behavior, behavior_field.string());
  if (behavior == "Isolated") return SplitBehavior::kIsolated;
  if (behavior == "Removed") return SplitBehavior::kRemoved;
  if (behavior == "MergedWithPrevious") return SplitBehavior::kMergedWithPrevious;
  if (behavior == "MergedWithNext") return SplitBehavior::kMergedWithNext;
  if (behavior == "Contiguous") return SplitBehavior::kContiguous;
  return behavior_field.unsupported("Isolated, Removed, MergedWithPrevious, MergedWithNext, Contiguous");
}

Result<PreTokenizerStep> read_split(const JsonField& field) {
  ASSIGN_OR_RETURN(const auto pattern, read_pattern(field));
  auto expression = pattern.kind == PatternField::Kind::kExpression ? Regex::compile(pattern.text)
                                                                    : Regex::compile_literal(pattern.text);
  if (!expression) return fail(expression.error().with_context(field.at("pattern")->where()));
  ASSIGN_OR_RETURN(const auto behavior, read_behavior(field));
  ASSIGN_OR_RETURN(const bool invert, field.boolean_or("invert", false));
  return SplitStep{std::move(*expression), behavior, invert ? SplitSide::kInverted : SplitSide::kMatch};
}

Result<PreTokenizerStep> read_digits(const JsonField& field) {
  ASSIGN_OR_RETURN(const bool individual, field.boolean_or("individual_digits", false));
  return SplitStep{Regex::compile(individual ? "\\p{N}" : "\\p{N}+").value()};
}

// Files from before prepend_scheme say add_prefix_space: true is always, false is never.
Result<MetaspaceStep::Prepend> read_prepend(const JsonField& field) {
  ASSIGN_OR_RETURN(const bool add_prefix_space, field.boolean_or("add_prefix_space", true));
  ASSIGN_OR_RETURN(const auto scheme,
                   field.string_or("prepend_scheme", add_prefix_space ? "always" : "never"));
  if (scheme != "always" && scheme != "first" && scheme != "never") {
    return field.at("prepend_scheme")->unsupported("always, first, never");
  }
  if (!add_prefix_space && scheme != "never") {
    return field.at("prepend_scheme")
        ->invalid("expected never, as add_prefix_space is false; found " + std::string(scheme));
  }
  if (scheme == "first") return MetaspaceStep::Prepend::kFirst;
  return scheme == "always" ? MetaspaceStep::Prepend::kAlways : MetaspaceStep::Prepend::kNever;
}

Result<PreTokenizerStep> read_metaspace(const JsonField& field) {
  MetaspaceStep step;
  ASSIGN_OR_RETURN(const auto replacement, character_at(field, "replacement"));
  step.replacement = replacement;
  ASSIGN_OR_RETURN(step.prepend, read_prepend(field));
  ASSIGN_OR_RETURN(const bool split, field.boolean_or("split", true));
  step.cut = split ? MetaspaceStep::Cut::kBeforeReplacement : MetaspaceStep::Cut::kNowhere;
  return step;
}

Status append_byte_level(const JsonField& field, std::vector<PreTokenizerStep>& steps) {
  ASSIGN_OR_RETURN(const bool add_prefix_space, field.boolean_or("add_prefix_space", true));
  ASSIGN_OR_RETURN(const bool use_regex, field.boolean_or("use_regex", true));
  if (add_prefix_space) steps.emplace_back(PrefixSpaceStep{});
  if (use_regex) steps.emplace_back(SplitStep{Regex::compile(kGpt2Expression).value()});
  return {};
}

Result<PreTokenizerStep> read_step(const JsonField& field) {
  ASSIGN_OR_RETURN(const auto type, type_of(field));
  if (type == "Split") return read_split(field);
  if (type == "Digits") return read_digits(field);
  if (type == "Metaspace") return read_metaspace(field);
  return unsupported_type(field, "Split, Digits, Metaspace, ByteLevel (last), Sequence of those, none");
}

}  // namespace

Result<PreTokenizerFile> read_pre_tokenizer(const JsonField& root) {
  const auto field = root.find("pre_tokenizer");
  if (!field) return PreTokenizerFile{PreTokenizer(), SymbolUnit::kCharacter};
  ASSIGN_OR_RETURN(const auto fields, steps_of(*field, "pretokenizers"));
  std::vector<PreTokenizerStep> steps;
  for (std::size_t i = 0; i < fields.size(); ++i) {
    ASSIGN_OR_RETURN(const auto type, type_of(fields[i]));
    if (type == "ByteLevel" && i + 1 == fields.size()) {
      RETURN_IF_ERROR(append_byte_level(fields[i], steps));
      return PreTokenizerFile{PreTokenizer(std::move(steps)), SymbolUnit::kByte};
    }
    ASSIGN_OR_RETURN(auto step, read_step(fields[i]));
    steps.push_back(std::move(step));
  }
  return PreTokenizerFile{PreTokenizer(std::move(steps)), SymbolUnit::kCharacter};
}

}  // namespace concertina::tokenizer
