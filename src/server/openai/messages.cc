#include "server/openai/messages.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <ctime>

#include "chat/error.h"
#include "server/openai/message_reader.h"
#include "server/openai/text_prompt.h"

namespace concertina::server::openai {

namespace {

constexpr std::size_t kMaxVariables = 256;        // of a template: each mention of one looks through them
constexpr std::size_t kRenderedAnyway = 1 << 20;  // bytes of contents: a tenth of a second

using chat::ChatError;
using chat::MessageShape;

bool read_variables(Fields& fields, const ParseContext& context, Json& variables, Parameters& out) {
  const Json* given = fields.find("chat_template_kwargs");
  if (given != nullptr && !given->is_object())
    return fields.wrong("chat_template_kwargs", "an object", *given), false;
  if (given != nullptr && given->size() > kMaxVariables) {
    fields.fail({400,
                 fmt::format("chat_template_kwargs has {} members; it must have at most {}", given->size(),
                             kMaxVariables),
                 "chat_template_kwargs", std::nullopt});
    return false;
  }
  read_tool_fields(fields, context.formats, variables, out.answer);
  if (fields.error()) return false;
  // How hard to think is the template's to say to the model (gpt-oss); vLLM hands it on, too.
  if (const auto effort = fields.text("reasoning_effort")) variables["reasoning_effort"] = *effort;
  if (given == nullptr) return true;
  for (const char* name : {"tools", "reasoning_effort"}) {
    if (given->contains(name)) variables.erase(name);
  }
  JsonMembers& members = variables.get_ref<Json::object_t&>();
  for (const auto& [name, value] : given->get_ref<const Json::object_t&>()) members.emplace_back(name, value);
  return true;
}

// Bytes of text that a template is sure to be given: of contents and their parts, without white space around
// them, which templates trim. Not those of answers: templates leave out what a model thought.
std::size_t content_bytes(const Json& messages) {
  const auto bytes_of = [](const Json& text) -> std::size_t {
    if (!text.is_string()) return 0;
    const auto& content = text.get_ref<const std::string&>();
    constexpr const char* kSpace = " \t\r\n";
    const std::size_t begin = content.find_first_not_of(kSpace);
    return begin == content.npos ? 0 : content.find_last_not_of(kSpace) + 1 - begin;
  };
  std::size_t n_bytes = 0;
  for (const Json& message : messages) {
    if (!message.is_object() || message.value("role", Json()) == "assistant") continue;
    const auto content = message.find("content");
    if (content == message.end()) continue;
    n_bytes += bytes_of(*content);
    if (!content->is_array()) continue;
    for (const Json& part : *content) {
      if (part.is_object() && part.contains("text")) n_bytes += bytes_of(part["text"]);
    }
  }
  return n_bytes;
}

// What the template refuses or fails on is the client's fault; one that fails always is the checkpoint's.
ApiError from_template(const Error& error) {
  const int status = error.is(ChatError::kTemplateInvalid) ? 500 : 400;
  return {status, error.message(), "messages", std::nullopt};
}

class Renderer {
 public:
  Renderer(Fields& fields, const chat::ChatTemplate& chat_template, const tokenizer::SpecialTokens& tokens,
           Json variables)
      : fields_(fields), template_(chat_template), tokens_(tokens), variables_(std::move(variables)) {
    const std::time_t time = std::time(nullptr);
    localtime_r(&time, &now_);
  }

  // Where it could not be found out whether the template wants arguments as an object or as text, an object
  // is tried first; which one it is depends on the conversation alone.
  std::optional<std::string> render(const Json& messages, chat::GenerationPrompt prompt) {
    MessageShape shape = template_.shape(variables_);
    const bool is_known = shape.arguments != MessageShape::Arguments::kUnknown;
    MessageReader reader(fields_, shape);
    const auto prepared = reader.read(messages);
    if (!prepared) return std::nullopt;
    auto text = render_prepared(*prepared, prompt);
    if (!text && !is_known && reader.has_arguments() && text.error().is(ChatError::kTemplateFailed)) {
      shape.arguments = MessageShape::Arguments::kText;
      auto other = render_prepared(*MessageReader(fields_, shape).read(messages), prompt);
      if (other) text = std::move(other);
    }
    if (text) return *std::move(text);
    fields_.fail(from_template(text.error()));
    return std::nullopt;
  }

 private:
  Result<std::string> render_prepared(const Json& messages, chat::GenerationPrompt prompt) const {
    return template_.render({messages, prompt, tokens_, variables_, now_});
  }

  Fields& fields_;
  const chat::ChatTemplate& template_;
  const tokenizer::SpecialTokens& tokens_;
  const Json variables_;
  std::tm now_{};
};

// The text of a message's content, its last part's where there are several.
std::string last_text(const Json& message) {
  const auto content = message.find("content");
  if (content == message.end()) return {};
  const Json& last = content->is_array() && !content->empty() ? content->back() : *content;
  if (last.is_string()) return last.get<std::string>();
  return last.is_object() && last.contains("text") && last["text"].is_string()
             ? last["text"].get<std::string>()
             : std::string();
}

// The answer goes on where the final message ends: what the template wrote after it is left out, as
// transformers' continue_final_message does.
void cut_after_final_message(Fields& fields, const Json& message, std::string& text) {
  const std::string content = last_text(message);
  const auto is_space = [](char byte) { return std::isspace(static_cast<unsigned char>(byte)) != 0; };
  const auto first = std::ranges::find_if_not(content, is_space);
  const std::string left(first, content.end());
  const std::string stripped(left.begin(), std::find_if_not(left.rbegin(), left.rend(), is_space).base());
  const std::size_t at = text.rfind(stripped);
  if (stripped.empty() || at == text.npos) {
    return fields.fail(
        {400, "continue_final_message needs a final message with a text that the chat template shows",
         "continue_final_message", std::nullopt});
  }
  text.resize(at + (text.compare(at, left.size(), left) == 0 ? left.size() : stripped.size()));
}

// vLLM's; -1 is none there.
void read_thinking_budget(Fields& fields, const AnswerFormats& formats, Parameters& out) {
  const auto n_tokens = fields.integer("thinking_token_budget", -1, INT64_MAX);
  if (!n_tokens || *n_tokens < 0) return;
  if (formats.thought_end.empty()) {
    const bool is_harmony = formats.formats.harmony == tools::Formats::Harmony::kYes;
    const char* why = is_harmony
                          ? "thinking_token_budget is not supported of a model that thinks in several "
                            "messages: use reasoning_effort"
                          : "thinking_token_budget needs to know how the model marks what it thinks, which "
                            "its chat template does not show: start the server with --reasoning-parser";
    return fields.fail({400, why, "thinking_token_budget", "unsupported_parameter"});
  }
  const bool is_opened = out.answer.opened == tools::Opened::kYes;
  out.rules.thinking = {static_cast<std::size_t>(*n_tokens), formats.thought_end, formats.thought_other_end,
                        is_opened ? std::vector<TokenId>() : formats.thought_begin};
}

// The model's, or the request's own, which goes to `own`; null: there is none, or it is wrong.
const chat::ChatTemplate* template_of(Fields& fields, const ParseContext& context,
                                      std::optional<chat::ChatTemplate>& own) {
  const auto source = fields.text("chat_template");
  if (!source) return context.chat_template;
  const auto refuse = [&fields](std::string why) {
    fields.fail({400, "chat_template " + std::move(why), "chat_template", "unsupported_parameter"});
    return nullptr;
  };
  if (context.request_templates == RequestTemplates::kRefused)
    return refuse("is not supported: it is a program; --trust-request-chat-template takes those of requests");
  auto parsed = chat::ChatTemplate::parse(*source, "chat_template");
  if (!parsed) return refuse("is none: " + parsed.error().message());
  own = std::move(*parsed);
  return &*own;
}

}  // namespace

std::optional<std::string> render_messages(Fields& fields, const ParseContext& context, Parameters& out) {
  const Json* messages = fields.find("messages");
  const bool add_prompt = fields.boolean("add_generation_prompt").value_or(true);
  if (messages == nullptr || !messages->is_array() || messages->empty())
    return fields.wrong("messages", "a list of messages, not empty",
                        messages == nullptr ? Json() : *messages),
           std::nullopt;
  Json variables = Json::object();
  if (!read_variables(fields, context, variables, out) || fields.error()) return std::nullopt;
  std::optional<chat::ChatTemplate> own;
  const chat::ChatTemplate* chat_template = template_of(fields, context, own);
  if (fields.error()) return std::nullopt;
  if (context.tokenizer == nullptr || chat_template == nullptr)
    return fields.fail(
               {400, "this model has no chat template: use /v1/completions", "messages", std::nullopt}),
           std::nullopt;
  // What cannot fit is not rendered first. A template may show less than it is given; of so much it does not.
  if (const std::size_t n_bytes = content_bytes(*messages);
      out.truncate_prompt_tokens == 0 && n_bytes > kRenderedAnyway && !fits_bytes(n_bytes, context))
    return fail_too_long(fields, "messages", n_bytes, context), std::nullopt;
  Renderer renderer(fields, *chat_template, context.tokenizer->special_tokens(), std::move(variables));
  const bool is_continued = fields.boolean("continue_final_message").value_or(false);
  if (is_continued && add_prompt && fields.find("add_generation_prompt") != nullptr)
    return fields.fail({400, "continue_final_message and add_generation_prompt exclude each other",
                        "continue_final_message", std::nullopt}),
           std::nullopt;
  auto text = renderer.render(
      *messages, add_prompt && !is_continued ? chat::GenerationPrompt::kAdd : chat::GenerationPrompt::kNone);
  if (text && is_continued) cut_after_final_message(fields, messages->back(), *text);
  if (!text || fields.error()) return std::nullopt;
  if (context.formats.formats.reasoning != nullptr)
    out.answer.opened = tools::opened_by(*text, *context.formats.formats.reasoning);
  read_thinking_budget(fields, context.formats, out);
  return text;
}

void read_messages(Fields& fields, const ParseContext& context, Parameters& out) {
  if (const auto text = render_messages(fields, context, out))
    add_text_prompt(fields, "messages", *text, tokenizer::AddSpecialTokens::kNo, context, out);
}

}  // namespace concertina::server::openai
