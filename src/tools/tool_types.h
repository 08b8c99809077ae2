#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace concertina::tools {

// How an argument's text is to be read in formats that write values without quotes.
enum class ValueType : std::uint8_t {
  kText,        // a string, whatever it looks like
  kTextOrNull,  // as kText, but for "null"
  kJson,        // JSON where it is some, else a string
};

// What the tools of a request are called and want. Immutable.
class ToolTypes {
 public:
  ToolTypes() = default;
  // Of "tools" as OpenAI writes it: [{"function": {"name", "parameters": a JSON schema}}]. What has another
  // shape is left out.
  explicit ToolTypes(const nlohmann::ordered_json& tools);

  bool has(const std::string& tool) const { return tools_.contains(tool); }
  ValueType type_of(const std::string& tool, const std::string& parameter) const;  // kJson: not known

 private:
  std::map<std::string, std::map<std::string, ValueType>> tools_;
};

}  // namespace concertina::tools
