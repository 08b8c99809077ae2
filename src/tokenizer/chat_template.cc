#include "tokenizer/chat_template.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "tokenizer/jinja/interpreter.h"
#include "tokenizer/jinja/json_value.h"
#include "tokenizer/jinja/parser.h"
#include "tokenizer/json_field.h"
#include "tokenizer/tokenizer_config.h"

namespace concertina::tokenizer {

struct ChatTemplate::Parsed {
  std::string name;
  jinja::Body body;
};

namespace {

Status add_variables(const ChatTemplateInput& input, jinja::Dict& variables) {
  const auto& roles = input.special_tokens;
  const std::pair<const char*, const std::optional<std::string>*> tokens[] = {{"bos_token", &roles.bos},
                                                                              {"eos_token", &roles.eos},
                                                                              {"unk_token", &roles.unk},
                                                                              {"pad_token", &roles.pad}};
  for (const auto& [name, text] : tokens) {
    if (*text) variables.set(name, jinja::Value(**text));
  }
  // transformers always passes these two: templates test them with "if tools" and "tools is not none".
  variables.set("tools", jinja::Value(jinja::None{}));
  variables.set("documents", jinja::Value(jinja::None{}));
  for (const auto& [name, json] : input.variables.items()) {
    ASSIGN_OR_RETURN(jinja::Value value, jinja::from_json(json));
    variables.set(name, std::move(value));
  }
  ASSIGN_OR_RETURN(jinja::Value messages, jinja::from_json(input.messages));
  variables.set("messages", std::move(messages));
  variables.set("add_generation_prompt", jinja::Value(input.generation_prompt == GenerationPrompt::kAdd));
  return {};
}

}  // namespace

Result<ChatTemplate> ChatTemplate::parse(std::string_view source, const std::string& name) {
  auto body = jinja::parse_template(source);
  if (!body) return fail(body.error().with_context(name));
  ChatTemplate result;
  result.templates_["default"] = std::make_shared<const Parsed>(Parsed{name, *std::move(body)});
  return result;
}

Result<ChatTemplate> ChatTemplate::load(const std::filesystem::path& model_folder) {
  const std::filesystem::path file = model_folder / "chat_template.jinja";
  auto source = read_text_file(file);
  if (source) return parse(*source, file.string());
  if (!source.error().is(TokenizerError::kMissing)) return fail(source.error());
  ASSIGN_OR_RETURN(const TokenizerConfig config, load_tokenizer_config(model_folder));
  ChatTemplate result;
  for (const auto& [name, text] : config.chat_templates) {
    ASSIGN_OR_RETURN(const ChatTemplate one,
                     parse(text, fmt::format("{}: chat_template \"{}\"", config.path, name)));
    result.templates_[name] = one.templates_.at("default");
  }
  if (!result.templates_.contains("default")) {
    return fail(TokenizerError::kMissing,
                fmt::format("{}: no chat template: neither chat_template.jinja nor a chat_template{} in "
                            "tokenizer_config.json",
                            model_folder.string(), result.templates_.empty() ? "" : " called \"default\""));
  }
  return result;
}

Result<std::string> ChatTemplate::render(const ChatTemplateInput& input) const {
  const auto tools = input.variables.find("tools");
  const bool with_tools =
      tools != input.variables.end() && !tools->is_null() && templates_.contains("tool_use");
  const Parsed& parsed = *templates_.at(with_tools ? "tool_use" : "default");
  jinja::Dict variables;
  Status added = add_variables(input, variables);
  if (!added) return fail(added.error().with_context(parsed.name));
  auto text = jinja::render(parsed.body, std::move(variables), input.now);
  if (!text) return fail(text.error().with_context(parsed.name));
  return text;
}

}  // namespace concertina::tokenizer
