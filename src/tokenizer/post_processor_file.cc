#include "tokenizer/post_processor_file.h"

#include <fmt/format.h>

#include "tokenizer/component_field.h"

namespace concertina::tokenizer {

namespace {

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

Result<PromptTemplate> read_post_processor(const JsonField& root, const Vocabulary& vocabulary) {
  PromptTemplate result;
  const auto processor = root.find("post_processor");
  if (!processor) return result;
  ASSIGN_OR_RETURN(const auto steps, steps_of(*processor, "processors"));
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
