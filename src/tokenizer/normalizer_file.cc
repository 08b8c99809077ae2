#include "tokenizer/normalizer_file.h"

#include "tokenizer/component_field.h"

namespace concertina::tokenizer {

namespace {

Result<NormalizerStep> read_replace(const JsonField& field) {
  ASSIGN_OR_RETURN(const auto pattern, read_pattern(field));
  ASSIGN_OR_RETURN(const auto content_field, field.at("content"));
  ASSIGN_OR_RETURN(const auto content, content_field.string());
  if (pattern.text.empty()) return field.at("pattern")->invalid("expected a text, found an empty one");
  if (pattern.kind == PatternField::Kind::kLiteral) {
    return ReplaceStep{std::string(pattern.text), std::string(content)};
  }
  auto expression = Regex::compile(pattern.text);
  if (!expression) return fail(expression.error().with_context(field.at("pattern")->where()));
  return ReplaceMatchesStep{std::move(*expression), std::string(content)};
}

Result<NormalizerStep> read_step(const JsonField& field) {
  ASSIGN_OR_RETURN(const auto type, type_of(field));
  if (type == "NFC") return NormalForm::kNfc;
  if (type == "NFD") return NormalForm::kNfd;
  if (type == "NFKC") return NormalForm::kNfkc;
  if (type == "NFKD") return NormalForm::kNfkd;
  if (type == "Replace") return read_replace(field);
  if (type == "Prepend") {
    ASSIGN_OR_RETURN(const auto text, text_at(field, "prepend"));
    return PrependStep{std::string(text)};
  }
  if (type == "Strip") {
    StripStep step;
    ASSIGN_OR_RETURN(step.left, field.boolean_or("strip_left", true));
    ASSIGN_OR_RETURN(step.right, field.boolean_or("strip_right", true));
    return step;
  }
  return unsupported_type(field, "NFC, NFD, NFKC, NFKD, Prepend, Replace, Strip, Sequence of those, none");
}

}  // namespace

Result<Normalizer> read_normalizer(const JsonField& root) {
  const auto field = root.find("normalizer");
  if (!field) return Normalizer();
  ASSIGN_OR_RETURN(const auto fields, steps_of(*field, "normalizers"));
  std::vector<NormalizerStep> steps;
  for (const JsonField& step_field : fields) {
    ASSIGN_OR_RETURN(auto step, read_step(step_field));
    steps.push_back(std::move(step));
  }
  return Normalizer(std::move(steps));
}

}  // namespace concertina::tokenizer
