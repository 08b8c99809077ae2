#include "server/openai/tool_fields.h"

#include <fmt/format.h>

namespace concertina::server::openai {

namespace {

constexpr std::size_t kMaxTools = 1024;

const Json* member(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

bool check_tool(Fields& fields, const Json& tool, const std::string& path) {
  const auto wrong = [&](const std::string& name, const char* must_be, const Json* found) {
    fields.wrong(path + name, must_be, found == nullptr ? Json() : *found);
    return false;
  };
  if (!tool.is_object()) return wrong("", "{\"type\": \"function\", \"function\": {...}}", &tool);
  if (const Json* type = member(tool, "type"); type != nullptr && *type != "function")
    return wrong(".type", "\"function\"", type);
  const Json* function = member(tool, "function");
  if (function == nullptr || !function->is_object()) return wrong(".function", "an object", function);
  const Json* name = member(*function, "name");
  if (name == nullptr || !name->is_string() || name->get_ref<const std::string&>().empty())
    return wrong(".function.name", "a string, not empty", name);
  const Json* parameters = member(*function, "parameters");
  if (parameters != nullptr && !parameters->is_object())
    return wrong(".function.parameters", "a JSON schema, an object", parameters);
  const Json* strict = member(*function, "strict");
  if (strict != nullptr && !strict->is_boolean()) return wrong(".function.strict", "true or false", strict);
  return true;
}

bool check_tools(Fields& fields, const Json& tools) {
  if (!tools.is_array() || tools.size() > kMaxTools)
    return fields.wrong("tools", fmt::format("a list of at most {} tools", kMaxTools), tools), false;
  for (std::size_t i = 0; i < tools.size(); ++i) {
    if (!check_tool(fields, tools[i], fmt::format("tools[{}]", i))) return false;
  }
  return true;
}

// The name that a tool_choice asks for; empty: it names none.
std::string named_tool(const Json& choice) {
  if (!choice.is_object()) return {};
  const Json* function = member(choice, "function");
  const Json* name = function == nullptr || !function->is_object() ? nullptr : member(*function, "name");
  return name == nullptr || !name->is_string() ? std::string() : name->get<std::string>();
}

// Where calls are wanted, `out` says so.
void read_choice(Fields& fields, const Json* choice, const Json* tools, AnswerParameters& out) {
  const bool is_auto = choice == nullptr || *choice == "auto",
             is_none = choice != nullptr && *choice == "none";
  const bool is_required = choice != nullptr && *choice == "required";
  const std::string name = choice == nullptr ? "" : named_tool(*choice);
  if (!is_auto && !is_none && !is_required && name.empty())
    return fields.wrong(
        "tool_choice",
        "\"none\", \"auto\", \"required\" or {\"type\": \"function\", \"function\": {\"name\": ...}}",
        *choice);
  const bool has_tools = tools != nullptr && !tools->empty();
  if (!has_tools && !is_auto && !is_none)
    return fields.fail(
        {400, "tool_choice asks for a call, but tools is empty or absent", "tool_choice", std::nullopt});
  if (!has_tools || is_none) return;
  if (!name.empty() && !out.types->has(name))
    return fields.fail({400,
                        fmt::format("tool_choice names \"{}\", which is none of the tools", shortened(name)),
                        "tool_choice", std::nullopt});
  using Choice = AnswerParameters::Choice;
  out.choice = is_auto ? Choice::kAuto : name.empty() ? Choice::kRequired : Choice::kNamed;
  out.named = name;
  out.calls = tools::ParseCalls::kYes;
}

}  // namespace

void read_tool_fields(Fields& fields, const AnswerFormats& formats, Json& variables, AnswerParameters& out) {
  const Json* tools = fields.find("tools");
  const Json* choice = fields.find("tool_choice");
  const bool is_shown = fields.boolean("include_reasoning").value_or(true);
  if (formats.formats.have_reasoning())
    out.reasoning = is_shown ? AnswerParameters::Reasoning::kShown : AnswerParameters::Reasoning::kHidden;
  if (!fields.boolean("parallel_tool_calls").value_or(true)) out.parallel = AnswerParameters::Parallel::kOne;
  if (tools != nullptr && !check_tools(fields, *tools)) return;
  if (tools != nullptr && !tools->empty()) {
    out.types = std::make_shared<tools::ToolTypes>(*tools);
    variables["tools"] = *tools;
  }
  read_choice(fields, choice, tools, out);
  if (out.calls == tools::ParseCalls::kYes && !formats.formats.have_calls()) {
    fields.fail(
        {400,
         "tools needs to know how the model writes its calls, which its chat template does not show: start "
         "the server with --tool-call-parser, or send tool_choice \"none\"",
         "tools", "unsupported_parameter"});
  }
}

namespace {
bool is_parsed(const AnswerParameters& parameters) {
  return parameters.calls == tools::ParseCalls::kYes ||
         parameters.reasoning != AnswerParameters::Reasoning::kInContent;
}
}  // namespace

std::unique_ptr<tools::AnswerParser> make_answer_parser(const AnswerParameters& parameters,
                                                        const AnswerFormats& formats) {
  const auto split = parameters.reasoning == AnswerParameters::Reasoning::kInContent
                         ? tools::SplitReasoning::kNo
                         : tools::SplitReasoning::kYes;
  return tools::make_parser(is_parsed(parameters) ? formats.formats : tools::Formats{}, parameters.calls,
                            split, parameters.opened, parameters.types);
}

std::shared_ptr<const std::vector<TokenId>> shown_marks(const AnswerParameters& parameters,
                                                        const AnswerFormats& formats) {
  return is_parsed(parameters) ? formats.marks : nullptr;
}

}  // namespace concertina::server::openai
