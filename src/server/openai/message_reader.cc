#include "server/openai/message_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "jinja/json_value.h"

namespace concertina::server::openai {

namespace {

using Content = chat::MessageShape::Content;
using Arguments = chat::MessageShape::Arguments;
using AbsentContent = chat::MessageShape::AbsentContent;

constexpr std::array kTextParts = {"text", "input_text", "output_text"};

// As Python's json.dumps writes it.
std::string to_text(const Json& json) {
  const auto value = jinja::from_json(json);
  auto text = value ? jinja::to_json(*value, {}) : Result<std::string>(fail(value.error()));
  return text ? *std::move(text) : std::string();
}

Json text_part(std::string text) {
  Json part{{"type", "text"}};
  part["text"] = std::move(text);
  return part;
}

const Json* member(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

bool may_have_no_content(const Json& message) {
  const Json* role = member(message, "role");
  return role != nullptr && (*role == "assistant" || *role == "tool" || *role == "function");
}

bool has_calls(const Json& message) {
  const Json* calls = member(message, "tool_calls");
  return calls != nullptr && calls->is_array() && !calls->empty();
}

}  // namespace

bool MessageReader::wrong(const std::string& path, const std::string& must_be, const Json& found) {
  fields_.wrong(path, must_be, found);
  return false;
}

bool MessageReader::want_text(const Json& value, const std::string& path) {
  return value.is_string() || wrong(path, "a string", value);
}

std::optional<Json> MessageReader::read(const Json& messages) {
  Json out = Json::array();
  out.get_ref<Json::array_t&>().reserve(messages.size());
  for (std::size_t i = 0; i < messages.size(); ++i) {
    Json message = Json::object();
    if (!read_message(messages[i], fmt::format("messages[{}]", i), message)) return std::nullopt;
    out.push_back(std::move(message));
  }
  return out;
}

bool MessageReader::read_message(const Json& given, const std::string& path, Json& message) {
  if (!given.is_object()) return wrong(path, "an object", given);
  if (const Json* role = member(given, "role"); role == nullptr || !role->is_string())
    return wrong(path + ".role", "a string", role == nullptr ? Json() : *role);
  const Json* content = member(given, "content");
  if (content == nullptr && !may_have_no_content(given))
    return wrong(path + ".content", "a string or a list of text parts", Json());
  Json absent = shape_.content == Content::kParts ? Json::array() : Json("");
  if (has_calls(given) && shape_.absent_content == AbsentContent::kNull) absent = nullptr;
  JsonMembers& members = message.get_ref<Json::object_t&>();
  for (const auto& [key, value] : given.get_ref<const Json::object_t&>()) {
    if (value.is_null() && key == "content") members.emplace_back(key, absent);
    if (value.is_null()) continue;
    if (!read_member(key, value, path + "." + key, message)) return false;
  }
  if (!given.contains("content")) members.emplace_back("content", std::move(absent));
  return true;
}

// Fields that nobody knows go to the template as they are.
bool MessageReader::read_member(const std::string& key, const Json& value, const std::string& path,
                                Json& message) {
  Json read = value;
  if (key == "role" && value == "developer") read = "system";
  if (key == "content" && !read_content(value, path, read)) return false;
  if ((key == "name" || key == "tool_call_id") && !want_text(value, path)) return false;
  if (key == "tool_calls") {
    if (!read_calls(value, path, read)) return false;
    if (read.empty()) return true;
  }
  static_cast<JsonMembers&>(message.get_ref<Json::object_t&>()).emplace_back(key, std::move(read));
  return true;
}

bool MessageReader::read_content(const Json& given, const std::string& path, Json& content) {
  if (given.is_string()) {
    if (shape_.content == Content::kParts) content = Json::array({text_part(given.get<std::string>())});
    return true;
  }
  if (!given.is_array()) return wrong(path, "a string or a list of text parts", given);
  Json parts = Json::array();
  std::string joined;
  for (std::size_t k = 0; k < given.size(); ++k) {
    std::string text;
    if (!read_part(given[k], fmt::format("{}[{}]", path, k), text)) return false;
    if (k > 0) joined += '\n';
    joined += text;
    if (shape_.content != Content::kText) parts.push_back(text_part(std::move(text)));
  }
  content = shape_.content == Content::kText ? Json(std::move(joined)) : std::move(parts);
  return true;
}

bool MessageReader::read_part(const Json& part, const std::string& path, std::string& text) {
  if (part.is_string()) return text = part.get<std::string>(), true;
  if (!part.is_object()) return wrong(path, "a string or a part {\"type\": \"text\", \"text\": ...}", part);
  const Json* type = member(part, "type");
  if (type == nullptr || !type->is_string())
    return wrong(path + ".type", "a string", type == nullptr ? Json() : *type);
  const bool is_text = std::ranges::any_of(kTextParts, [&](const char* name) { return *type == name; });
  if (!is_text && *type != "refusal") {
    fields_.fail({400,
                  fmt::format("{}: parts of the type {} are not supported: the model reads text", path,
                              in_short(*type)),
                  path, "unsupported_parameter"});
    return false;
  }
  const char* name = is_text ? "text" : "refusal";
  const Json* found = member(part, name);
  if (found == nullptr || !found->is_string())
    return wrong(fmt::format("{}.{}", path, name), "a string", found == nullptr ? Json() : *found);
  return text = found->get<std::string>(), true;
}

bool MessageReader::read_calls(const Json& given, const std::string& path, Json& calls) {
  if (!given.is_array()) return wrong(path, "a list of tool calls", given);
  calls = Json::array();
  for (std::size_t j = 0; j < given.size(); ++j) {
    Json call = Json::object();
    if (!read_call(given[j], fmt::format("{}[{}]", path, j), call)) return false;
    calls.push_back(std::move(call));
    has_arguments_ = true;
  }
  return true;
}

bool MessageReader::read_call(const Json& given, const std::string& path, Json& call) {
  if (!given.is_object()) return wrong(path, "an object", given);
  if (const Json* type = member(given, "type"); type != nullptr && *type != "function")
    return wrong(path + ".type", "\"function\"", *type);
  if (member(given, "function") == nullptr) return wrong(path + ".function", "an object", Json());
  JsonMembers& members = call.get_ref<Json::object_t&>();
  for (const auto& [key, value] : given.get_ref<const Json::object_t&>()) {
    if (value.is_null()) continue;
    Json read = value;
    if (key == "id" && !want_text(value, path + ".id")) return false;
    if (key == "function" && !read_function(value, path + ".function", read)) return false;
    members.emplace_back(key, std::move(read));
  }
  return true;
}

bool MessageReader::read_function(const Json& given, const std::string& path, Json& function) {
  if (!given.is_object()) return wrong(path, "an object", given);
  const Json* name = member(given, "name");
  if (name == nullptr || !name->is_string())
    return wrong(path + ".name", "a string", name == nullptr ? Json() : *name);
  function = Json::object();
  JsonMembers& members = function.get_ref<Json::object_t&>();
  for (const auto& [key, value] : given.get_ref<const Json::object_t&>()) {
    Json read = value;
    if (key == "arguments" && !read_arguments(value, path + ".arguments", read)) return false;
    if (!read.is_null()) members.emplace_back(key, std::move(read));
  }
  if (given.contains("arguments")) return true;
  members.emplace_back("arguments", Json());
  return read_arguments(Json(), path, members.back().second);
}

// A call without arguments has {}: some clients send "" or null for it.
bool MessageReader::read_arguments(const Json& given, const std::string& path, Json& arguments) {
  const bool is_absent =
      given.is_null() || (given.is_string() && given.get_ref<const std::string&>().empty());
  arguments = is_absent ? Json::object() : given;
  if (arguments.is_string()) {
    auto parsed = parse_json(arguments.get_ref<const std::string&>(), Fields::kMaxDepth);
    if (!parsed) {
      fields_.fail({400, fmt::format("{} {}", path, parsed.error()), path, std::nullopt});
      return false;
    }
    if (shape_.arguments != Arguments::kText) arguments = std::move(*parsed);
    return true;
  }
  if (!arguments.is_object()) return wrong(path, "an object or the JSON text of one", given);
  if (shape_.arguments == Arguments::kText) arguments = to_text(arguments);
  return true;
}

}  // namespace concertina::server::openai
