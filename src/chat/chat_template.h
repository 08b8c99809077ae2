#pragma once

#include <cstdint>
#include <ctime>
#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "base/result.h"
#include "tokenizer/special_tokens.h"

namespace concertina::chat {

// Whether the text ends where the assistant's answer begins.
enum class GenerationPrompt { kAdd, kNone };

struct ChatTemplateInput {
  // An array of {"role", "content", ...}; templates see the keys in this order.
  const nlohmann::ordered_json& messages;
  GenerationPrompt generation_prompt = GenerationPrompt::kAdd;
  // bos_token, eos_token, ... are undefined where not set.
  const tokenizer::SpecialTokens& special_tokens;
  // An object: more variables ("tools", "enable_thinking"); {} for none.
  const nlohmann::ordered_json& variables;
  // What strftime_now formats.
  std::tm now{};
};

// How a template wants messages that can be written in several ways.
struct MessageShape {
  enum class Content : std::uint8_t { kText, kTextOrParts, kParts } content = Content::kText;
  // Of a tool call.
  enum class Arguments : std::uint8_t { kObject, kText, kUnknown } arguments = Arguments::kUnknown;
  // Of a message that has tool calls alone.
  enum class AbsentContent : std::uint8_t { kEmptyText, kNull } absent_content = AbsentContent::kEmptyText;
};

// The chat templates of a model folder, parsed once: Jinja as transformers sets it up (trim_blocks,
// lstrip_blocks, loop controls), less inheritance, includes and call blocks. Immutable: any thread may
// render. Copies are cheap.
class ChatTemplate {
 public:
  // chat_template.jinja or, without it, chat_template of tokenizer_config.json. ChatError::kMissing: the
  // folder has neither.
  static Result<ChatTemplate> load(const std::filesystem::path& model_folder);

  // One from a file of its own.
  static Result<ChatTemplate> load_file(const std::filesystem::path& file);

  // `name` is for messages: the file it comes from.
  static Result<ChatTemplate> parse(std::string_view source, const std::string& name);

  // The "default" template or, where "tools" is a variable that is not null, the one called "tool_use" if
  // there is one. kTemplateRaised: the template refuses the messages, in its own words; kTemplateFailed: it
  // fails on them; kTemplateInvalid: it fails on plain ones, too. All name the line; none names the file, as
  // callers may be clients.
  Result<std::string> render(const ChatTemplateInput& input) const;

  // What the template that `render` would take wants. Found out once, by its syntax and by small
  // conversations.
  MessageShape shape(const nlohmann::ordered_json& variables) const;

  std::string sources() const;  // of all templates, joined

 private:
  struct Parsed;
  const Parsed& choose(const nlohmann::ordered_json& variables) const;
  static Result<std::string> render(const Parsed& parsed, const ChatTemplateInput& input);
  static bool fails_always(const Parsed& parsed, const ChatTemplateInput& input);
  static MessageShape find_shape(const Parsed& parsed, std::string_view source);

  std::map<std::string, std::shared_ptr<const Parsed>> templates_;  // by name: one at least, called "default"
};

}  // namespace concertina::chat
