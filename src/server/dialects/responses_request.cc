#include "server/dialects/responses_request.h"

#include <fmt/format.h>

#include "server/dialects/translation.h"

namespace concertina::server::dialects {

namespace {

// Items of the input, put together to messages: calls and thoughts belong to the assistant's message around
// them.
class InputReader {
 public:
  // Of items that are referred to: a reference is short, and a body may have many to one.
  static constexpr std::size_t kMaxReferredBytes = std::size_t{4} << 20;
  InputReader(Translation& translation, const KeptItems* kept) : translation_(translation), kept_(kept) {}

  Json read(const Json* instructions, const Json* input) {
    if (is_text(instructions)) messages_.push_back({{"role", "system"}, {"content", *instructions}});
    if (is_text(input)) messages_.push_back({{"role", "user"}, {"content", *input}});
    if (input != nullptr && input->is_array()) {
      for (std::size_t i = 0; i < input->size(); ++i) {
        if (!read_item((*input)[i], fmt::format("input[{}]", i))) break;
      }
    } else if (!is_text(input)) {
      translation_.wrong("input", "a string or a list of items", input);
    }
    return std::move(messages_);
  }

 private:
  bool read_item(const Json& item, const std::string& path) {
    if (!item.is_object()) return translation_.wrong(path, "an object", &item);
    const Json* type = member(item, "type");
    const std::string name = type == nullptr ? "message" : is_text(type) ? type->get<std::string>() : "";
    if (name == "message") return read_message(item, path);
    if (name == "function_call") return read_call(item, path);
    if (name == "function_call_output") return read_output(item, path);
    if (name == "reasoning") return read_reasoning(item, path);
    if (name == "item_reference") return read_reference(item, path);
    return translation_.wrong(
        path + ".type",
        "\"message\", \"function_call\", \"function_call_output\", \"reasoning\" or \"item_reference\": "
        "others are not supported",
        type);
  }

  bool read_reference(const Json& item, const std::string& path) {
    const Json* id = member(item, "id");
    if (!is_text(id)) return translation_.wrong(path + ".id", "a string", id);
    const auto kept = kept_ == nullptr ? std::nullopt : kept_->find(id->get<std::string>());
    n_referred_bytes_ += kept ? kept->size() : 0;
    if (n_referred_bytes_ > kMaxReferredBytes) {
      translation_.fields().fail(
          {400, fmt::format("input refers to items of more than {} bytes", kMaxReferredBytes), "input",
           std::nullopt});
      return false;
    }
    if (kept) return read_item(Json::parse(*kept), path);
    translation_.fields().fail(
        {404,
         fmt::format("{}: there is no item {} (any more): send it whole, as clients do with store false",
                     path, dumped(*id)),
         path, "item_not_found"});
    return false;
  }

  bool read_message(const Json& item, const std::string& path) {
    const Json* role = member(item, "role");
    const Json* content = member(item, "content");
    if (!is_text(role)) return translation_.wrong(path + ".role", "a string", role);
    if (!is_text(content) && (content == nullptr || !content->is_array()))
      return translation_.wrong(path + ".content", "a string or a list of text parts", content);
    const bool is_system = *role == "system" || *role == "developer";
    if (is_system && is_text(content) && messages_.size() == 1 && messages_[0]["role"] == "system" &&
        is_text(member(messages_[0], "content"))) {
      // Instructions came first: many templates take one system message only.
      return add_line(messages_[0]["content"], "\n\n", content->get<std::string>()), true;
    }
    if (*role == "assistant" && is_open_assistant() && messages_.back()["content"].is_null()) {
      messages_.back()["content"] = *content;
      return true;
    }
    messages_.push_back({{"role", *role}, {"content", *content}});
    return true;
  }

  bool read_call(const Json& item, const std::string& path) {
    for (const char* key : {"call_id", "name", "arguments"}) {
      if (!is_text(member(item, key)))
        return translation_.wrong(fmt::format("{}.{}", path, key), "a string", member(item, key));
    }
    Json call{{"id", item["call_id"]}, {"type", "function"}};
    call["function"] = {{"name", item["name"]}, {"arguments", item["arguments"]}};
    assistant()["tool_calls"].push_back(std::move(call));
    return true;
  }

  bool read_output(const Json& item, const std::string& path) {
    const Json* id = member(item, "call_id");
    const Json* output = member(item, "output");
    if (!is_text(id)) return translation_.wrong(path + ".call_id", "a string", id);
    if (!is_text(output) && (output == nullptr || !output->is_array()))
      return translation_.wrong(path + ".output", "a string or a list of text parts", output);
    messages_.push_back({{"role", "tool"}, {"tool_call_id", *id}, {"content", *output}});
    return true;
  }

  // Thoughts of before, where the client has their text; a summary says less than templates expect.
  bool read_reasoning(const Json& item, const std::string& path) {
    const Json* content = member(item, "content");
    if (content == nullptr) return true;
    if (!content->is_array()) return translation_.wrong(path + ".content", "a list", content);
    std::string text;
    for (const Json& part : *content) text += text_of(part, "text");
    if (!text.empty())
      messages_.push_back({{"role", "assistant"}, {"content", nullptr}, {"reasoning_content", text}});
    return true;
  }

  bool is_open_assistant() const { return !messages_.empty() && messages_.back()["role"] == "assistant"; }

  Json& assistant() {
    if (!is_open_assistant()) messages_.push_back({{"role", "assistant"}, {"content", nullptr}});
    Json& message = messages_.back();
    if (!message.contains("tool_calls")) message["tool_calls"] = Json::array();
    return message;
  }

  Translation& translation_;
  const KeptItems* kept_;
  std::size_t n_referred_bytes_ = 0;
  Json messages_ = Json::array();
};

void translate_tools(Translation& translation) {
  const Json* tools = translation.fields().find("tools");
  if (tools == nullptr) return;
  if (!tools->is_array()) return translation.add("tools", *tools);
  Json out = Json::array();
  for (std::size_t i = 0; i < tools->size(); ++i) {
    const Json& tool = (*tools)[i];
    const Json* type = member(tool, "type");
    if (type == nullptr || *type != "function") {
      translation.wrong(fmt::format("tools[{}].type", i), "\"function\": no tools are built in", type);
      return;
    }
    out.push_back({{"type", "function"}, {"function", without_type(tool)}});
  }
  translation.add("tools", std::move(out));
}

void translate_tool_choice(Translation& translation) {
  const Json* choice = translation.fields().find("tool_choice");
  if (choice == nullptr) return;
  const bool is_named = text_of(*choice, "type") == "function" && is_text(member(*choice, "name"));
  translation.add("tool_choice", is_named
                                     ? Json{{"type", "function"}, {"function", {{"name", (*choice)["name"]}}}}
                                     : *choice);
}

// {"format": {"type": "json_schema", "name", "schema", ...}}: a chat has the last three one level deeper.
void translate_text(Translation& translation) {
  const Json* text = translation.fields().find("text");
  if (text == nullptr) return;
  if (!text->is_object()) return void(translation.wrong("text", "an object", text));
  if (const Json* verbosity = member(*text, "verbosity")) translation.add("verbosity", *verbosity);
  const Json* format = member(*text, "format");
  if (format == nullptr || text_of(*format, "type") == "text") return;
  if (text_of(*format, "type") != "json_schema") return translation.add("response_format", *format);
  Json out{{"type", "json_schema"}};
  out["json_schema"] = without_type(*format);
  translation.add("response_format", std::move(out));
}

void translate_reasoning(Translation& translation) {
  const Json* reasoning = translation.fields().find("reasoning");
  if (reasoning == nullptr) return;
  if (!reasoning->is_object()) return void(translation.wrong("reasoning", "an object", reasoning));
  if (const Json* effort = member(*reasoning, "effort")) translation.add("reasoning_effort", *effort);
}

void check_include(Translation& translation) {
  const Json* include = translation.fields().find("include");
  if (include == nullptr) return;
  for (const Json& one : include->is_array() ? *include : Json::array({*include})) {
    if (one != "reasoning.encrypted_content")  // thoughts are sent as they are
      return void(translation.wrong("include", "made of \"reasoning.encrypted_content\" only", &one));
  }
}

}  // namespace

ApiResult<Json> responses_to_chat(const Json& body, const KeptItems* kept) {
  Translation translation(body);
  constexpr const char* kStateless = "this server keeps nothing between requests; send the whole input";
  translation.refuse("previous_response_id", {""}, kStateless);
  translation.refuse("conversation", {}, kStateless);
  translation.refuse("store", {false}, "this server keeps nothing; send false or leave it out");
  translation.refuse("background", {false}, "answers come with their request");
  translation.refuse("prompt", {}, "this server has no stored prompts");
  translation.refuse("truncation", {"disabled"}, "a context that is too long is refused");
  translation.refuse("top_logprobs", {0}, "logprobs of responses are not built");
  Fields& fields = translation.fields();
  const Json* instructions = fields.find("instructions");
  if (instructions != nullptr && !instructions->is_string())
    translation.wrong("instructions", "a string", instructions);
  translation.add("messages", InputReader(translation, kept).read(instructions, fields.find("input")));
  for (const char* same :
       {"model", "temperature", "top_p", "stream", "parallel_tool_calls", "stream_options"})
    translation.rename(same, same);
  translation.rename("max_output_tokens", "max_completion_tokens");
  translate_tools(translation);
  translate_tool_choice(translation);
  translate_text(translation);
  translate_reasoning(translation);
  check_include(translation);
  for (const char* ignored : {"metadata", "user", "service_tier", "prompt_cache_key",
                              "prompt_cache_retention", "safety_identifier", "max_tool_calls"})
    fields.find(ignored);
  return translation.finish();
}

}  // namespace concertina::server::dialects
