#include "server/dialects/anthropic_request.h"

#include <fmt/format.h>

#include "server/dialects/translation.h"

namespace concertina::server::dialects {

namespace {

// Blocks of a message, sorted out: a user's results of tools are messages of their own.
class MessageReader {
 public:
  explicit MessageReader(Translation& translation) : translation_(translation) {}

  Json read(const Json* system, const Json* messages) {
    if (system != nullptr) read_system(*system);
    if (messages == nullptr || !messages->is_array() || messages->empty()) {
      translation_.wrong("messages", "a list of messages, not empty", messages);
      return out_;
    }
    for (std::size_t i = 0; i < messages->size(); ++i) {
      if (!read_message((*messages)[i], fmt::format("messages[{}]", i))) break;
    }
    return std::move(out_);
  }

 private:
  void read_system(const Json& system) {
    if (system.is_string()) return out_.push_back({{"role", "system"}, {"content", system}});
    std::string text;
    if (read_texts(system, "system", text)) out_.push_back({{"role", "system"}, {"content", text}});
  }

  // A list of text blocks, joined by line ends.
  bool read_texts(const Json& blocks, const std::string& path, std::string& text) {
    if (!blocks.is_array()) return translation_.wrong(path, "a string or a list of text blocks", &blocks);
    for (std::size_t k = 0; k < blocks.size(); ++k) {
      if (text_of(blocks[k], "type") != "text" || !is_text(member(blocks[k], "text")))
        return translation_.wrong(fmt::format("{}[{}]", path, k),
                                  "a block {\"type\": \"text\", \"text\": ...}", &blocks[k]);
      if (k > 0) text += '\n';
      text += text_of(blocks[k], "text");
    }
    return true;
  }

  bool read_message(const Json& message, const std::string& path) {
    const std::string role = text_of(message, "role");
    if (role != "user" && role != "assistant")
      return translation_.wrong(path + ".role", "\"user\" or \"assistant\"", member(message, "role"));
    const Json* content = member(message, "content");
    if (is_text(content)) return out_.push_back({{"role", role}, {"content", *content}}), true;
    if (content == nullptr || !content->is_array())
      return translation_.wrong(path + ".content", "a string or a list of blocks", content);
    Json made{{"role", role}, {"content", nullptr}};
    for (std::size_t k = 0; k < content->size(); ++k) {
      if (!read_block((*content)[k], fmt::format("{}.content[{}]", path, k), made)) return false;
    }
    const bool says_something = !made["content"].is_null() || made.size() > 2;
    if (says_something || role == "assistant") out_.push_back(std::move(made));
    return true;
  }

  bool read_block(const Json& block, const std::string& path, Json& message) {
    const std::string type = text_of(block, "type");
    if (type == "text") {
      if (!is_text(member(block, "text")))
        return translation_.wrong(path + ".text", "a string", member(block, "text"));
      Json& content = message["content"];
      if (content.is_null()) return content = text_of(block, "text"), true;
      return add_line(content, "\n", text_of(block, "text")), true;
    }
    const bool is_assistant = message["role"] == "assistant";
    if (type == "thinking" && is_assistant)
      return message["reasoning_content"] = text_of(block, "thinking"), true;
    if (type == "redacted_thinking" && is_assistant) return true;
    if (type == "tool_use" && is_assistant) return read_use(block, path, message);
    if (type == "tool_result" && !is_assistant) return read_result(block, path);
    return translation_.wrong(path + ".type",
                              is_assistant ? "\"text\", \"thinking\" or \"tool_use\""
                                           : "\"text\" or \"tool_result\": the model reads text",
                              member(block, "type"));
  }

  bool read_use(const Json& block, const std::string& path, Json& message) {
    for (const char* key : {"id", "name"}) {
      if (!is_text(member(block, key)))
        return translation_.wrong(fmt::format("{}.{}", path, key), "a string", member(block, key));
    }
    const Json* input = member(block, "input");
    Json call{{"id", block["id"]}, {"type", "function"}};
    call["function"] = {{"name", block["name"]}, {"arguments", input == nullptr ? Json::object() : *input}};
    if (!message.contains("tool_calls")) message["tool_calls"] = Json::array();
    message["tool_calls"].push_back(std::move(call));
    return true;
  }

  bool read_result(const Json& block, const std::string& path) {
    if (!is_text(member(block, "tool_use_id")))
      return translation_.wrong(path + ".tool_use_id", "a string", member(block, "tool_use_id"));
    const Json* content = member(block, "content");
    std::string text = is_text(content) ? content->get<std::string>() : "";
    if (content != nullptr && !is_text(content) && !read_texts(*content, path + ".content", text))
      return false;
    out_.push_back({{"role", "tool"}, {"tool_call_id", block["tool_use_id"]}, {"content", text}});
    return true;
  }

  Translation& translation_;
  Json out_ = Json::array();
};

void translate_tools(Translation& translation) {
  const Json* tools = translation.fields().find("tools");
  if (tools == nullptr) return;
  if (!tools->is_array()) return translation.add("tools", *tools);
  Json out = Json::array();
  for (std::size_t i = 0; i < tools->size(); ++i) {
    const Json& tool = (*tools)[i];
    const Json* type = member(tool, "type");
    if (type != nullptr && *type != "custom")
      return void(
          translation.wrong(fmt::format("tools[{}].type", i), "\"custom\": no tools are built in", type));
    Json function = Json::object();
    for (const auto& [from, to] : {std::pair("name", "name"),
                                   {"description", "description"},
                                   {"input_schema", "parameters"},
                                   {"strict", "strict"}}) {
      if (const Json* value = member(tool, from)) function[to] = *value;
    }
    out.push_back({{"type", "function"}, {"function", std::move(function)}});
  }
  translation.add("tools", std::move(out));
}

void translate_tool_choice(Translation& translation) {
  const Json* choice = translation.fields().find("tool_choice");
  if (choice == nullptr) return;
  const std::string type = text_of(*choice, "type");
  if (const Json* one = member(*choice, "disable_parallel_tool_use"); one != nullptr && *one == true)
    translation.add("parallel_tool_calls", false);
  if (type == "auto" || type == "none") return translation.add("tool_choice", type);
  if (type == "any") return translation.add("tool_choice", "required");
  if (type == "tool" && is_text(member(*choice, "name")))
    return translation.add("tool_choice",
                           {{"type", "function"}, {"function", {{"name", (*choice)["name"]}}}});
  translation.wrong("tool_choice",
                    "an object of the type \"auto\", \"any\", \"none\" or \"tool\" with a name", choice);
}

// What templates know as enable_thinking (Qwen, GLM) or thinking (DeepSeek).
void translate_thinking(Translation& translation) {
  const Json* thinking = translation.fields().find("thinking");
  const Json* given = translation.fields().find("chat_template_kwargs");
  Json variables = given != nullptr && given->is_object() ? *given : Json::object();
  if (thinking != nullptr) {
    const std::string type = text_of(*thinking, "type");
    if (type != "enabled" && type != "disabled" && type != "adaptive")
      return void(
          translation.wrong("thinking.type", "\"enabled\" or \"disabled\"", member(*thinking, "type")));
    const bool is_on = type != "disabled";
    for (const char* name : {"enable_thinking", "thinking"}) {
      if (!variables.contains(name)) variables[name] = is_on;
    }
    if (const Json* budget = member(*thinking, "budget_tokens"); is_on && budget != nullptr)
      translation.add("thinking_token_budget", *budget);
  }
  if (!variables.empty()) translation.add("chat_template_kwargs", std::move(variables));
}

// output_config.format, and its name of before, output_format: {"type": "json_schema", "schema"}.
void translate_format(Translation& translation) {
  const Json* config = translation.fields().find("output_config");
  if (config != nullptr && !config->is_object())
    return void(translation.wrong("output_config", "an object", config));
  if (config != nullptr)
    if (const Json* effort = member(*config, "effort")) translation.add("reasoning_effort", *effort);
  const Json* before = translation.fields().find("output_format");
  const Json* format = config == nullptr ? nullptr : member(*config, "format");
  const char* path = format == nullptr ? "output_format" : "output_config.format";
  if (format == nullptr) format = before;
  if (format == nullptr) return;
  if (text_of(*format, "type") != "json_schema" || member(*format, "schema") == nullptr)
    return void(translation.wrong(path, "{\"type\": \"json_schema\", \"schema\": ...}", format));
  Json schema{{"name", "output"}, {"strict", true}};
  schema["schema"] = *member(*format, "schema");
  translation.add("response_format", {{"type", "json_schema"}, {"json_schema", std::move(schema)}});
}

}  // namespace

ApiResult<Json> anthropic_to_chat(const Json& body, Wants wants) {
  Translation translation(body);
  Fields& fields = translation.fields();
  Json messages = MessageReader(translation).read(fields.find("system"), fields.find("messages"));
  if (!messages.empty() && messages.back()["role"] == "assistant") {  // the answer goes on there
    translation.add("add_generation_prompt", false);
    translation.add("continue_final_message", true);
  }
  translation.add("messages", std::move(messages));
  const Json* max_tokens = fields.find("max_tokens");
  if (wants == Wants::kAnswer && max_tokens == nullptr)
    translation.wrong("max_tokens", "a number of tokens", max_tokens);
  for (const char* same : {"model", "max_tokens", "temperature", "top_p", "top_k", "stream"})
    translation.rename(same, same);
  translation.rename("stop_sequences", "stop");
  translate_tools(translation);
  translate_tool_choice(translation);
  translate_thinking(translation);
  translate_format(translation);
  translation.refuse("mcp_servers", {Json::array()}, "this server calls no others");
  translation.refuse("container", {}, "this server runs no code");
  if (fields.find("thread") != nullptr)
    fields.fail({400, "thread is not supported: this server keeps no conversation; send all its messages",
                 "thread", kThreadUnsupported});
  for (const char* ignored : {"metadata", "service_tier", "betas", "context_management"})
    fields.find(ignored);
  return translation.finish();
}

}  // namespace concertina::server::dialects
