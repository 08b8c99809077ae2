#include "server/openai/structure_fields.h"

#include <fmt/format.h>

#include "server/openai/structure_checker.h"

namespace concertina::server::openai {

namespace {

using Language = request::StructureLanguage;

// A schema comes as an object, or as its text.
void ask_for_any_schema(Fields& fields, const std::string& name, const Json& value,
                        const ParseContext& context, Parameters& out) {
  if (value.is_string())
    return ask_for_structure(fields, name, Language::kJsonSchema, value.get<std::string>(), context, out);
  if (!value.is_object() && !value.is_boolean())
    return fields.wrong(name, "a JSON schema: an object, or its text", value);
  ask_for_schema(fields, name, value, context, out);
}

void ask_for_choice(Fields& fields, const std::string& name, const Json& value, const ParseContext& context,
                    Parameters& out) {
  constexpr const char* kMustBe = "a list of strings, not empty";
  if (!value.is_array() || value.empty()) return fields.wrong(name, kMustBe, value);
  for (const Json& one : value)
    if (!one.is_string()) return fields.wrong(name, kMustBe, one);
  ask_for_structure(fields, name, Language::kChoice, value.dump(), context, out);
}

void ask_for_text(Fields& fields, const std::string& name, Language language, const Json& value,
                  const ParseContext& context, Parameters& out) {
  if (!value.is_string()) return fields.wrong(name, "a string", value);
  ask_for_structure(fields, name, language, value.get<std::string>(), context, out);
}

void ask_for(Fields& fields, const std::string& name, Language language, const Json& value,
             const ParseContext& context, Parameters& out) {
  if (language == Language::kJsonSchema) return ask_for_any_schema(fields, name, value, context, out);
  if (language == Language::kChoice) return ask_for_choice(fields, name, value, context, out);
  if (language != Language::kJsonObject) return ask_for_text(fields, name, language, value, context, out);
  if (!value.is_boolean()) return fields.wrong(name, "true or false", value);
  if (value.get<bool>()) ask_for_structure(fields, name, language, "", context, out);
}

// Of any object, or of those of a schema beside the type, as llama-server has it.
void ask_for_object(Fields& fields, const Json& format, const ParseContext& context, Parameters& out) {
  const auto schema = format.find("schema");
  if (schema == format.end() || schema->is_null())
    return ask_for_structure(fields, "response_format", Language::kJsonObject, "", context, out);
  ask_for_any_schema(fields, "response_format.schema", *schema, context, out);
}

void read_response_format(Fields& fields, const ParseContext& context, Parameters& out) {
  constexpr const char* kName = "response_format";
  const Json* format = fields.find(kName);
  if (format == nullptr) return;
  const auto type = format->is_object() ? format->find("type") : format->end();
  const std::string kind =
      format->is_object() && type != format->end() && type->is_string() ? *type : Json("");
  if (kind == "text") return;
  if (kind == "json_object") return ask_for_object(fields, *format, context, out);
  if (kind != "json_schema")
    return fields.wrong(
        kName, R"({"type": "text"}, {"type": "json_object"} or {"type": "json_schema", "json_schema": ...})",
        *format);
  const auto nested = format->find("json_schema");
  if (nested == format->end() || !nested->is_object())
    return fields.wrong("response_format.json_schema", R"(an object: {"name": ..., "schema": ...})",
                        nested == format->end() ? Json() : *nested);
  const auto schema = nested->find("schema");
  if (schema == nested->end() || schema->is_null())  // as OpenAI: any object
    return ask_for_structure(fields, kName, Language::kJsonObject, "", context, out);
  ask_for_any_schema(fields, "response_format.json_schema.schema", *schema, context, out);
}

struct Named {
  const char* name;
  Language language;
};

void read_structured_outputs(Fields& fields, const ParseContext& context, Parameters& out) {
  static constexpr Named kKinds[] = {{"json", Language::kJsonSchema},
                                     {"regex", Language::kRegex},
                                     {"choice", Language::kChoice},
                                     {"grammar", Language::kEbnf},
                                     {"json_object", Language::kJsonObject}};
  const Json* asked = fields.find("structured_outputs");
  if (asked == nullptr) return;
  if (!asked->is_object()) return fields.wrong("structured_outputs", "an object", *asked);
  Fields nested(*asked, "structured_outputs.");
  for (const Named& kind : kKinds)
    if (const Json* value = nested.find(kind.name))
      ask_for(fields, fmt::format("structured_outputs.{}", kind.name), kind.language, *value, context, out);
  for (const char* option : {"disable_fallback", "disable_any_whitespace", "disable_additional_properties"})
    nested.unsupported(option, {false});
  for (const char* option : {"whitespace_pattern", "structural_tag", "_backend", "_backend_was_auto"})
    nested.unsupported(option, {""});
  if (nested.error()) return fields.fail(*nested.error());
  if (const auto unknown = nested.unknown(); !unknown.empty())
    fields.fail({400,
                 fmt::format("{} is not known; structured_outputs has json, regex, choice, grammar or "
                             "json_object",
                             shortened(unknown.front())),
                 "structured_outputs", std::nullopt});
  if (!fields.error() && !out.structure && !asked->empty() && nested.find("json_object") == nullptr)
    fields.wrong("structured_outputs", "one of json, regex, choice, grammar and json_object", *asked);
}

}  // namespace

void ask_for_structure(Fields& fields, const std::string& name, Language language, std::string source,
                       const ParseContext& context, Parameters& out) {
  if (fields.error()) return;
  const auto refuse = [&](const std::string& why) {
    fields.fail({400, fmt::format("{} {}", name, why), name, std::nullopt});
  };
  if (out.structure) return refuse("and another field say what the answer must be like: one of them may");
  if (context.tokenizer == nullptr || context.structures == nullptr)
    return refuse("needs a tokenizer, which this model has not");
  if (source.size() > request::kMaxStructureBytes)
    return refuse(
        fmt::format("has {} bytes, and at most {} are read", source.size(), request::kMaxStructureBytes));
  out.structure = request::Structure{language, std::move(source), {}, {}};
  if (context.place == ParseContext::Place::kLoop && !context.structures->is_known(*out.structure)) {
    out.structure_check = Parameters::StructureCheck::kPostponed;
  } else if (const std::string error = context.structures->check(*out.structure); !error.empty()) {
    fields.fail({400, fmt::format("{}: {}", name, error), name, std::nullopt});
  }
}

void ask_for_schema(Fields& fields, const std::string& name, const Json& schema, const ParseContext& context,
                    Parameters& out) {
  ask_for_structure(fields, name, Language::kJsonSchema,
                    schema.dump(-1, ' ', false, Json::error_handler_t::replace), context, out);
}

void read_structure(Fields& fields, const ParseContext& context, Parameters& out) {
  static constexpr Named kFields[] = {{"guided_json", Language::kJsonSchema},
                                      {"guided_regex", Language::kRegex},
                                      {"guided_choice", Language::kChoice},
                                      {"guided_grammar", Language::kEbnf},
                                      {"guided_json_object", Language::kJsonObject},
                                      {"json_schema", Language::kJsonSchema},
                                      {"regex", Language::kRegex},
                                      {"ebnf", Language::kEbnf},
                                      {"grammar", Language::kEbnf}};
  read_response_format(fields, context, out);
  read_structured_outputs(fields, context, out);
  for (const Named& field : kFields) {
    const Json* value = fields.find(field.name);
    const bool says_nothing = value == nullptr || (value->is_string() && value->get<std::string>().empty());
    if (!says_nothing) ask_for(fields, field.name, field.language, *value, context, out);
  }
  for (const char* option : {"guided_decoding_backend", "guided_whitespace_pattern"}) fields.find(option);
}

// A model that is not in its thought may begin one, where one token does that, or answer at once. Where its
// begin is several tokens it answers at once: no mask can tell them from an answer.
void place_structure(const ParseContext& context, Parameters& out) {
  const tools::Formats& formats = context.formats.formats;
  if (!out.structure) return;
  const auto tokens_of = [&](std::string_view mark) -> std::vector<TokenId> {
    if (const auto id = context.tokenizer->token_to_id(mark)) return {*id};
    return context.tokenizer->encode(mark, tokenizer::AddSpecialTokens::kNo);
  };
  if (formats.harmony == tools::Formats::Harmony::kYes) {
    out.structure->begins_after = tokens_of("<|channel|>");
    for (const std::string_view part : {"final", "<|message|>"})
      for (const TokenId id : tokens_of(part)) out.structure->begins_after.push_back(id);
    return;
  }
  if (formats.reasoning == nullptr) return;
  const std::vector<TokenId> begin = tokens_of(formats.reasoning->begin);
  const bool is_open = out.answer.opened == tools::Opened::kYes;
  if (!is_open && begin.size() != 1) return;
  out.structure->begins_after = tokens_of(formats.reasoning->end);
  if (!is_open) out.structure->thought_begin = begin.front();
}

}  // namespace concertina::server::openai
