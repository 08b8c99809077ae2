#include "tools/tag_frames.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace concertina::tools {

using Json = nlohmann::ordered_json;

namespace {

const Json* member(const Json& object, const char* key) {
  if (!object.is_object()) return nullptr;
  const auto found = object.find(key);
  return found == object.end() ? nullptr : &*found;
}

// Tools as OpenAI writes them.
Json tools_of(const std::vector<Callable>& functions) {
  Json tools = Json::array();
  for (const Callable& one : functions)
    tools.push_back({{"function", {{"name", one.name}, {"parameters", one.parameters}}}});
  return tools;
}

bool is_required(const Json& parameters, const std::string& key) {
  const Json* required = member(parameters, "required");
  return required != nullptr && required->is_array() &&
         std::find(required->begin(), required->end(), key) != required->end();
}

bool is_key(const std::string& key) {
  return !key.empty() && key.size() < 256 && key.find_first_of("<>\n\r\t ") == key.npos;
}

}  // namespace

// Marks are written in angle or square brackets.
Json marked_frame(std::string_view text) {
  Json out = Json::array();
  std::string plain;
  const auto flush = [&] {
    if (!plain.empty()) out.push_back(std::exchange(plain, {}));
  };
  while (!text.empty()) {
    const char close = text[0] == '<' ? '>' : text[0] == '[' ? ']' : '\0';
    const std::size_t end = close == '\0' ? text.npos : text.find(close);
    if (end == text.npos) {
      plain += text[0];
      text.remove_prefix(1);
      continue;
    }
    flush();
    out.push_back({{"mark", std::string(text.substr(0, end + 1))}});
    text.remove_prefix(end + 1);
  }
  flush();
  return out;
}

TagFrames::TagFrames(const TagMarks& marks, const std::vector<Callable>& functions, Json& schemas)
    : marks_(marks), types_(tools_of(functions)), schemas_(schemas) {}

Json TagFrames::arguments(const Callable& function) {
  Json out = Json::array();
  const Json* properties = member(function.parameters, "properties");
  const Json none = Json::object();
  for (const auto& [key, schema] : (properties == nullptr ? none : *properties).items()) {
    if (!is_key(key)) continue;
    Json one = argument(function, key, &schema);
    if (is_required(function.parameters, key)) {
      out.push_back(std::move(one));
    } else {
      out.push_back({{"maybe", std::move(one)}});
    }
  }
  const Json* more = member(function.parameters, "additionalProperties");
  if (properties == nullptr && (more == nullptr || *more != false))
    out.push_back({{"maybe", {{"some", argument(function, "", nullptr)}}}});
  return out;
}

// `key` empty: of any name. `schema` null: any text.
Json TagFrames::argument(const Callable& function, const std::string& key, const Json* schema) {
  Json out = marked_frame(marks_.key_begin);
  if (key.empty()) {
    out.push_back({{"regex", "[A-Za-z_][A-Za-z0-9_.-]*"}});
  } else {
    out.push_back(key);
  }
  const std::string between =
      marks_.value_begin.empty() ? std::string() : "\n" + std::string(marks_.value_begin);
  out.push_back(marked_frame(std::string(marks_.key_end) + between));
  if (marks_.on_lines == TagMarks::OnLines::kYes) out.push_back("\n");
  out.push_back(value(function, key, schema));
  out.push_back("\n");
  return out;
}

Json TagFrames::end(const char* before) const { return marked_frame(before + std::string(marks_.value_end)); }

Json TagFrames::value(const Callable& function, const std::string& key, const Json* schema) {
  const Json any_text{{"up_to", {std::string(marks_.value_end)}}};
  if (schema == nullptr) return any_text;
  const ValueType type = types_.type_of(function.name, key);
  if (type == ValueType::kTextOrNull) return any_text;
  const char* line = marks_.on_lines == TagMarks::OnLines::kYes ? "\n" : "";
  if (type == ValueType::kJson) return Json::array({document(function, *schema), end(line)});
  const Json held = text(*schema);
  return held.is_null() ? any_text : Json::array({held, end(line)});
}

// A string as it is, where its schema says more than that it is one; null: it does not.
Json TagFrames::text(const Json& schema) const {
  if (const Json* pattern = member(schema, "pattern"); pattern != nullptr && pattern->is_string())
    return {{"pattern", *pattern}};
  Json values = Json::array();
  if (const Json* all = member(schema, "enum"); all != nullptr && all->is_array()) values = *all;
  if (const Json* one = member(schema, "const"); one != nullptr) values = Json::array({*one});
  std::erase_if(values.get_ref<Json::array_t&>(), [](const Json& one) { return !one.is_string(); });
  return values.empty() ? Json() : Json{{"any_of", std::move(values)}};
}

// A document of its own: what the whole schema defines for reference goes with it.
Json TagFrames::document(const Callable& function, const Json& schema) {
  Json own = schema;
  for (const char* definitions : {"$defs", "definitions"}) {
    const Json* found = member(function.parameters, definitions);
    if (found != nullptr && own.is_object() && !own.contains(definitions)) own[definitions] = *found;
  }
  schemas_.push_back(std::move(own));
  return {{"schema", schemas_.size() - 1}};
}

namespace {

constexpr std::array kNotOfTags = {"$ref", "anyOf", "allOf", "enum", "const"};
constexpr std::array kNotOfTexts = {"minLength", "maxLength", "format"};

std::optional<std::string> unheld_in_tags(const Json& parameters) {
  for (const char* keyword : kNotOfTags)
    if (member(parameters, keyword) != nullptr)
      return fmt::format("\"{}\" of all arguments: this model writes each one by itself", keyword);
  if (const Json* more = member(parameters, "additionalProperties"); more != nullptr && more->is_object())
    return "\"additionalProperties\": this model writes each argument by itself";
  const Json* properties = member(parameters, "properties");
  const Json none = Json::object();
  for (const auto& [key, schema] : (properties == nullptr ? none : *properties).items()) {
    if (!is_key(key)) return fmt::format("the name \"{}\": this model writes names as tags", key);
    const Json* type = member(schema, "type");
    if (type == nullptr || *type != "string") continue;
    for (const char* keyword : kNotOfTexts)
      if (member(schema, keyword) != nullptr)
        return fmt::format("\"{}\" of \"{}\": this model writes texts without quotes", keyword, key);
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::string> unheld_by(const Formats& formats, const Json& parameters) {
  const bool has_tags = formats.calls != nullptr && formats.calls->style == CallFormat::Style::kTags;
  return has_tags ? unheld_in_tags(parameters) : std::nullopt;
}

}  // namespace concertina::tools
