#include "tools/tool_types.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace concertina::tools {

namespace {

using Json = nlohmann::ordered_json;

const Json* member(const Json& object, const char* key) {
  if (!object.is_object()) return nullptr;
  const auto found = object.find(key);
  return found == object.end() ? nullptr : &*found;
}

// Which of text, null and anything else a schema lets through, as far as its types say.
struct Lets {
  bool text = false, null = false, other = false;

  void add(const std::string& type) { (type == "string" ? text : type == "null" ? null : other) = true; }
  void add(const Lets& more) {
    text |= more.text;
    null |= more.null;
    other |= more.other;
  }
};

Lets lets(const Json& schema) {
  Lets out;
  const Json* type = member(schema, "type");
  if (type != nullptr && type->is_string()) out.add(type->get<std::string>());
  if (type != nullptr && type->is_array()) {
    for (const Json& one : *type) out.add(one.is_string() ? one.get<std::string>() : "");
  }
  if (type != nullptr) return out;
  if (const Json* values = member(schema, "enum"); values != nullptr && values->is_array()) {
    for (const Json& one : *values) out.add(one.is_string() ? "string" : one.is_null() ? "null" : "");
    return out;
  }
  for (const char* key : {"anyOf", "oneOf"}) {
    const Json* choices = member(schema, key);
    if (choices == nullptr || !choices->is_array()) continue;
    for (const Json& choice : *choices) {
      const bool is_plain = member(choice, "type") != nullptr || member(choice, "enum") != nullptr;
      out.add(is_plain ? lets(choice) : Lets{.other = true});
    }
    return out;
  }
  return {.other = true};
}

ValueType type_of_schema(const Json& schema) {
  const Lets found = lets(schema);
  if (!found.text || found.other) return ValueType::kJson;
  return found.null ? ValueType::kTextOrNull : ValueType::kText;
}

}  // namespace

ToolTypes::ToolTypes(const Json& tools) {
  if (!tools.is_array()) return;
  for (const Json& tool : tools) {
    const Json* function = member(tool, "function");
    const Json* name = function == nullptr ? nullptr : member(*function, "name");
    if (name == nullptr || !name->is_string()) continue;
    auto& parameters = tools_[name->get<std::string>()];
    const Json* schema = member(*function, "parameters");
    const Json* properties = schema == nullptr ? nullptr : member(*schema, "properties");
    if (properties == nullptr || !properties->is_object()) continue;
    for (const auto& [key, value] : properties->items()) parameters[key] = type_of_schema(value);
  }
}

ValueType ToolTypes::type_of(const std::string& tool, const std::string& parameter) const {
  const auto found = tools_.find(tool);
  if (found == tools_.end()) return ValueType::kJson;
  const auto type = found->second.find(parameter);
  return type == found->second.end() ? ValueType::kJson : type->second;
}

}  // namespace concertina::tools
