#include "tokenizer/pipeline_file.h"

#include <fmt/format.h>

#include <optional>

namespace concertina::tokenizer {

namespace {

constexpr std::string_view kGpt2Expression =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

// The steps of a component: itself, or for a Sequence, those listed under `list_name`, to any reasonable
// depth.
Status flatten(const JsonField& field, std::string_view list_name, std::vector<JsonField>& out,
               int depth = 0) {
  constexpr int kMaxDepth = 8;
  ASSIGN_OR_RETURN(const auto type_field, field.at("type"));
  ASSIGN_OR_RETURN(const auto type, type_field.string());
  if (type != "Sequence") {
    out.push_back(field);
    return {};
  }
  if (depth == kMaxDepth) return field.invalid("Sequences nested more than 8 deep");
  ASSIGN_OR_RETURN(const auto list, field.at(list_name));
  ASSIGN_OR_RETURN(const auto items, list.items());
  for (const JsonField& item : items) RETURN_IF_ERROR(flatten(item, list_name, out, depth + 1));
  return {};
}

Result<std::string_view> type_of(const JsonField& field) {
  ASSIGN_OR_RETURN(const auto type, field.at("type"));
  return type.string();
}

tl::unexpected<Error> unsupported_type(const JsonField& field, std::string_view supported) {
  return field.at("type")->unsupported(supported);
}

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

Result<Regex> read_pattern(const JsonField& field) {
  ASSIGN_OR_RETURN(const auto pattern, field.at("pattern"));
  const auto regex = pattern.find("Regex"), literal = pattern.find("String");
  if (!regex && !literal) return pattern.invalid("expected {\"Regex\": ...} or {\"String\": ...}");
  ASSIGN_OR_RETURN(const auto text, regex ? regex->string() : literal->string());
  auto compiled = regex ? Regex::compile(text) : Regex::compile_literal(text);
  if (!compiled) return fail(compiled.error().with_context(pattern.where()));
  return compiled;
}

Result<SplitStep> read_split(const JsonField& field) {
  ASSIGN_OR_RETURN(auto expression, read_pattern(field));
  ASSIGN_OR_RETURN(const auto behavior, read_behavior(field));
  ASSIGN_OR_RETURN(const bool invert, field.boolean_or("invert", false));
  return SplitStep{std::move(expression), behavior, invert ? SplitSide::kInverted : SplitSide::kMatch};
}

Result<SplitStep> read_digits(const JsonField& field) {
  ASSIGN_OR_RETURN(const bool individual, field.boolean_or("individual_digits", false));
  return SplitStep{Regex::compile(individual ? "\\p{N}" : "\\p{N}+").value()};
}

struct ByteLevelStep {
  PrefixSpace prefix_space;
  std::optional<SplitStep> split;
};

Result<ByteLevelStep> read_byte_level(const JsonField& field) {
  ASSIGN_OR_RETURN(const bool add_prefix_space, field.boolean_or("add_prefix_space", true));
  ASSIGN_OR_RETURN(const bool use_regex, field.boolean_or("use_regex", true));
  ByteLevelStep step{add_prefix_space ? PrefixSpace::kAdd : PrefixSpace::kNone, std::nullopt};
  if (use_regex) step.split = SplitStep{Regex::compile(kGpt2Expression).value()};
  return step;
}

// The ids of a special token of a TemplateProcessing: listed in its own table, by name.
Status append_template_token(const JsonField& processor, const JsonField& piece, const Vocabulary& vocabulary,
                             std::vector<TokenId>& out) {
  ASSIGN_OR_RETURN(const auto name_field, piece.at("id"));
  ASSIGN_OR_RETURN(const auto name, name_field.string());
  ASSIGN_OR_RETURN(const auto table, processor.at("special_tokens"));
  ASSIGN_OR_RETURN(const auto entry, table.at(name));
  ASSIGN_OR_RETURN(const auto ids, entry.at("ids"));
  ASSIGN_OR_RETURN(const auto items, ids.items());
  for (const JsonField& item : items) {
    ASSIGN_OR_RETURN(const TokenId id, item.token_id());
    if (!vocabulary.contains(id)) return item.invalid(fmt::format("id {} is no token of the vocabulary", id));
    out.push_back(id);
  }
  return {};
}

Status append_template(const JsonField& processor, const Vocabulary& vocabulary, PromptTemplate& out) {
  ASSIGN_OR_RETURN(const auto single, processor.at("single"));
  ASSIGN_OR_RETURN(const auto pieces, single.items());
  bool after_text = false;
  PromptTemplate own;
  for (const JsonField& piece : pieces) {
    if (const auto token = piece.find("SpecialToken")) {
      RETURN_IF_ERROR(
          append_template_token(processor, *token, vocabulary, after_text ? own.suffix : own.prefix));
    } else if (piece.find("Sequence") && !after_text) {
      after_text = true;
    } else {
      return piece.invalid("expected a SpecialToken, or the Sequence (once)");
    }
  }
  if (!after_text) return single.invalid("has no Sequence: the text itself");
  out.prefix.insert(out.prefix.begin(), own.prefix.begin(), own.prefix.end());
  out.suffix.insert(out.suffix.end(), own.suffix.begin(), own.suffix.end());
  return {};
}

}  // namespace

Result<Normalization> read_normalizer(const JsonField& root) {
  const auto normalizer = root.find("normalizer");
  if (!normalizer) return Normalization::kNone;
  std::vector<JsonField> steps;
  RETURN_IF_ERROR(flatten(*normalizer, "normalizers", steps));
  for (const JsonField& step : steps) {
    ASSIGN_OR_RETURN(const auto type, type_of(step));
    if (type != "NFC") return unsupported_type(step, "NFC, Sequence of NFC, none");
  }
  return steps.empty() ? Normalization::kNone : Normalization::kNfc;
}

Result<PreTokenizer> read_pre_tokenizer(const JsonField& root) {
  ASSIGN_OR_RETURN(const auto pre_tokenizer, root.at("pre_tokenizer"));
  std::vector<JsonField> fields;
  RETURN_IF_ERROR(flatten(pre_tokenizer, "pretokenizers", fields));
  std::vector<SplitStep> steps;
  for (std::size_t i = 0; i < fields.size(); ++i) {
    ASSIGN_OR_RETURN(const auto type, type_of(fields[i]));
    if (type == "ByteLevel" && i + 1 == fields.size()) {
      ASSIGN_OR_RETURN(auto byte_level, read_byte_level(fields[i]));
      const std::size_t n_before_prefix = steps.size();
      if (byte_level.split) steps.push_back(std::move(*byte_level.split));
      return PreTokenizer(std::move(steps), n_before_prefix, byte_level.prefix_space);
    }
    if (type != "Split" && type != "Digits")
      return unsupported_type(fields[i], "Split, Digits, ByteLevel (last)");
    ASSIGN_OR_RETURN(auto step, type == "Split" ? read_split(fields[i]) : read_digits(fields[i]));
    steps.push_back(std::move(step));
  }
  return pre_tokenizer.unsupported("a ByteLevel as the last step (byte-level BPE)");
}

Status check_decoder(const JsonField& root) {
  ASSIGN_OR_RETURN(const auto decoder, root.at("decoder"));
  std::vector<JsonField> steps;
  RETURN_IF_ERROR(flatten(decoder, "decoders", steps));
  if (steps.size() != 1) return decoder.unsupported("ByteLevel, alone or in a Sequence");
  ASSIGN_OR_RETURN(const auto type, type_of(steps[0]));
  if (type != "ByteLevel") return unsupported_type(steps[0], "ByteLevel");
  return {};
}

Result<PromptTemplate> read_post_processor(const JsonField& root, const Vocabulary& vocabulary) {
  PromptTemplate result;
  const auto processor = root.find("post_processor");
  if (!processor) return result;
  std::vector<JsonField> steps;
  RETURN_IF_ERROR(flatten(*processor, "processors", steps));
  for (const JsonField& step : steps) {
    ASSIGN_OR_RETURN(const auto type, type_of(step));
    if (type == "ByteLevel") continue;  // moves offsets only: ids stay
    if (type != "TemplateProcessing")
      return unsupported_type(step, "TemplateProcessing, ByteLevel, Sequence of those");
    RETURN_IF_ERROR(append_template(step, vocabulary, result));
  }
  return result;
}

}  // namespace concertina::tokenizer
