#include "chat/chat_template.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "chat/error.h"
#include "jinja/content_loops.h"
#include "jinja/error.h"
#include "jinja/interpreter.h"
#include "jinja/json_value.h"
#include "jinja/parser.h"
#include "tokenizer/json_field.h"
#include "tokenizer/tokenizer_config.h"

namespace concertina::chat {

struct ChatTemplate::Parsed {
  std::string name, source;
  jinja::Body body;
  MessageShape shape;
};

namespace {

using Json = nlohmann::ordered_json;
constexpr const char* kWhat = "chat template";

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

Error of_template(const Error& error) {
  using jinja::JinjaError;
  const ChatError code = error.is(JinjaError::kTooLong)  ? ChatError::kTemplateTooLong
                         : error.is(JinjaError::kRaised) ? ChatError::kTemplateRaised
                                                         : ChatError::kTemplateInvalid;
  return {code, error.message()};
}

}  // namespace

Result<ChatTemplate> ChatTemplate::parse(std::string_view source, const std::string& name) {
  auto body = jinja::parse_template(source);
  if (!body) return fail(of_template(body.error()).with_context(name));
  ChatTemplate result;
  Parsed parsed{name, std::string(source), *std::move(body), {}};
  parsed.shape = find_shape(parsed, source);
  result.templates_["default"] = std::make_shared<const Parsed>(std::move(parsed));
  return result;
}

Result<ChatTemplate> ChatTemplate::load_file(const std::filesystem::path& file) {
  ASSIGN_OR_RETURN(const std::string source, tokenizer::read_text_file(file));
  return parse(source, file.string());
}

Result<ChatTemplate> ChatTemplate::load(const std::filesystem::path& model_folder) {
  const std::filesystem::path file = model_folder / "chat_template.jinja";
  auto source = tokenizer::read_text_file(file);
  if (source) return parse(*source, file.string());
  if (!source.error().is(tokenizer::TokenizerError::kMissing)) return fail(source.error());
  ASSIGN_OR_RETURN(const tokenizer::TokenizerConfig config, tokenizer::load_tokenizer_config(model_folder));
  ChatTemplate result;
  for (const auto& [name, text] : config.chat_templates) {
    ASSIGN_OR_RETURN(const ChatTemplate one,
                     parse(text, fmt::format("{}: chat_template \"{}\"", config.path, name)));
    result.templates_[name] = one.templates_.at("default");
  }
  if (!result.templates_.contains("default")) {
    return fail(ChatError::kMissing,
                fmt::format("{}: no chat template: neither chat_template.jinja nor a chat_template{} in "
                            "tokenizer_config.json",
                            model_folder.string(), result.templates_.empty() ? "" : " called \"default\""));
  }
  return result;
}

const ChatTemplate::Parsed& ChatTemplate::choose(const Json& variables) const {
  const auto tools = variables.find("tools");
  const bool with_tools = tools != variables.end() && !tools->is_null() && templates_.contains("tool_use");
  return *templates_.at(with_tools ? "tool_use" : "default");
}

std::string ChatTemplate::sources() const {
  std::string all;
  for (const auto& [unused, parsed] : templates_) all += parsed->source;
  return all;
}

MessageShape ChatTemplate::shape(const Json& variables) const { return choose(variables).shape; }

Result<std::string> ChatTemplate::render(const ChatTemplateInput& input) const {
  const Parsed& parsed = choose(input.variables);
  auto text = render(parsed, input);
  if (text) return text;
  if (text.error().is(ChatError::kTemplateInvalid) && !fails_always(parsed, input))
    return fail(Error(ChatError::kTemplateFailed, text.error().message()).with_context(kWhat));
  return fail(text.error().with_context(kWhat));
}

Result<std::string> ChatTemplate::render(const Parsed& parsed, const ChatTemplateInput& input) {
  jinja::Dict variables;
  if (const Status added = add_variables(input, variables); !added)
    return fail(ChatError::kTemplateFailed, added.error().message());
  auto text = jinja::render(parsed.body, std::move(variables), input.now);
  if (!text) return fail(of_template(text.error()));
  return *std::move(text);
}

// Whose fault an error is: a template that fails on a greeting as well is broken. With the caller's variables
// or without them: some templates want tools, and a caller's may be wrong.
bool ChatTemplate::fails_always(const Parsed& parsed, const ChatTemplateInput& input) {
  const Json user{{"role", "user"}, {"content", "Hi"}}, system{{"role", "system"}, {"content", "Be brief."}},
      assistant{{"role", "assistant"}, {"content", "Hello"}};
  const Json none = Json::object();
  for (const Json* variables : {&none, &input.variables}) {
    for (const Json& chat :
         {Json::array({user}), Json::array({system, user}), Json::array({user, assistant, user})}) {
      const auto text =
          render(parsed, {chat, input.generation_prompt, input.special_tokens, *variables, input.now});
      if (text || text.error().is(ChatError::kTemplateRaised)) return false;
    }
  }
  return true;
}

namespace {

// Whether a template shows the needles that small messages have in them.
template <typename Render>
bool shows(const Render& render, const Json& messages, std::initializer_list<std::string_view> needles) {
  const tokenizer::SpecialTokens tokens{"<bos>", "<eos>", "<unk>", "<pad>"};
  const Json variables = Json::object();
  const Result<std::string> text = render({messages, GenerationPrompt::kAdd, tokens, variables});
  return text && std::ranges::all_of(
                     needles, [&](std::string_view needle) { return text->find(needle) != text->npos; });
}

// Ids have nine letters: Mistral's templates want that.
Json tool_chat(const Json& content, const Json& arguments) {
  Json call{{"id", "call00001"}, {"type", "function"}};
  call["function"] = {{"name", "probe_tool"}, {"arguments", arguments}};
  Json assistant{{"role", "assistant"}, {"content", content}};
  assistant["tool_calls"] = Json::array({call});
  return Json::array(
      {{{"role", "user"}, {"content", "Hi"}},
       assistant,
       {{"role", "tool"}, {"tool_call_id", "call00001"}, {"name", "probe_tool"}, {"content", "fine"}}});
}

template <typename Render>
void find_tool_shape(const Render& render, MessageShape& shape) {
  using Arguments = MessageShape::Arguments;
  using AbsentContent = MessageShape::AbsentContent;
  const Json object{{"probe_key", "probe_value"}};
  for (const AbsentContent absent : {AbsentContent::kEmptyText, AbsentContent::kNull}) {
    for (const Arguments form : {Arguments::kObject, Arguments::kText}) {
      const Json chat = tool_chat(absent == AbsentContent::kNull ? Json() : Json(""),
                                  form == Arguments::kText ? Json(object.dump()) : object);
      if (!shows(render, chat, {"probe_tool", "probe_value"})) continue;
      shape.arguments = form;
      shape.absent_content = absent;
      return;
    }
  }
}

template <typename Render>
MessageShape::Content find_content_shape(const Render& render) {
  const auto chat = [](const Json& content) {
    Json message{{"role", "user"}};
    message["content"] = content;
    return Json::array({message});
  };
  const Json parts =
      Json::array({{{"type", "text"}, {"text", "probe one"}}, {{"type", "text"}, {"text", "probe two"}}});
  const bool prints_the_list = shows(render, chat(parts), {"'type'"});  // as Python does
  if (prints_the_list || !shows(render, chat(parts), {"probe one", "probe two"}))
    return MessageShape::Content::kText;
  return shows(render, chat("probe one"), {"probe one"}) ? MessageShape::Content::kTextOrParts
                                                         : MessageShape::Content::kParts;
}

}  // namespace

MessageShape ChatTemplate::find_shape(const Parsed& parsed, std::string_view source) {
  const auto small = [&](const ChatTemplateInput& input) { return render(parsed, input); };
  MessageShape shape;
  if (source.find("tool_calls") != source.npos) find_tool_shape(small, shape);
  if (jinja::loops_over_content(parsed.body)) shape.content = find_content_shape(small);
  return shape;
}

}  // namespace concertina::chat
