#include "server/openai/call_structure.h"

#include <fmt/format.h>

#include <algorithm>

#include "grammar/compiled_grammar.h"
#include "tools/call_frames.h"

namespace concertina::server::openai {

namespace {

using grammar::Language;
using tools::CallFrames;

const Json* member(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

std::string dumped(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

// Arguments are an object, also where the schema does not say so.
Json any_arguments() { return {{"type", "object"}}; }
Json arguments_of(const Json* parameters) {
  if (parameters == nullptr) return any_arguments();
  Json schema = *parameters;
  const bool is_made_of_others =
      schema.contains("$ref") || schema.contains("anyOf") || schema.contains("allOf");
  if (!schema.contains("type") && !is_made_of_others) schema["type"] = "object";
  return schema;
}

class CallStructure {
 public:
  CallStructure(Fields& fields, const ParseContext& context, Parameters& out)
      : fields_(fields), context_(context), out_(out), tools_(*fields.find("tools")) {}

  void read() {
    const bool has_document = out_.structure && is_document(*out_.structure);
    if (is_auto() && !has_document && (out_.structure || !has_strict())) return;
    // It is read over again, and a document that is not known may be no JSON.
    if (context_.place == ParseContext::Place::kLoop) {
      out_.structure_check = Parameters::StructureCheck::kPostponed;
      return;
    }
    for (std::size_t i = 0; i < tools_.size(); ++i) {
      if (!add_function(tools_[i], i)) return;
    }
    if (is_auto() && has_document) content_ = document_of(*out_.structure);
    if (!holds() && !leave_out_what_is_not_built()) return;
    if (const auto read = grammar::read_grammar(Language::kFrames, source()); !read)
      return fields_.fail({400, "tools: " + read.error().message(), "tools", std::nullopt});
    out_.structure = structure();
  }

 private:
  bool is_auto() const { return out_.answer.choice == AnswerParameters::Choice::kAuto; }
  static bool is_document(const request::Structure& structure) {
    return structure.language == Language::kJsonSchema || structure.language == Language::kJsonObject;
  }
  static Json document_of(const request::Structure& structure) {
    return structure.language == Language::kJsonObject ? any_arguments() : Json::parse(structure.source);
  }
  static bool is_strict(const Json& tool) {
    const Json* strict = member(tool["function"], "strict");
    return strict != nullptr && *strict == true;
  }
  bool has_strict() const { return std::any_of(tools_.begin(), tools_.end(), is_strict); }
  static std::string parameters_path(std::size_t i) {
    return fmt::format("tools[{}].function.parameters", i);
  }

  bool add_function(const Json& tool, std::size_t i) {
    const Json& function = tool["function"];
    const std::string name = function["name"].get<std::string>();
    if (!out_.answer.named.empty() && name != out_.answer.named) return true;
    if (!tools::is_callable(name)) {
      fields_.wrong(fmt::format("tools[{}].function.name", i),
                    "of letters, digits, _, - and . where calls are held to their tools", function["name"]);
      return false;
    }
    const bool is_held = !is_auto() || is_strict(tool);
    functions_.push_back({name, is_held ? arguments_of(member(function, "parameters")) : any_arguments()});
    places_.push_back(i);
    return true;
  }

  bool holds() const {
    return std::ranges::none_of(functions_,
                                [&](const tools::Callable& one) {
                                  return tools::unheld_by(formats_.formats, one.parameters).has_value();
                                }) &&
           grammar::read_grammar(Language::kFrames, source()).has_value();
  }

  // Of a strict function what is not built is refused; the arguments of others are any.
  bool leave_out_what_is_not_built() {
    for (std::size_t k = 0; k < functions_.size(); ++k) {
      std::optional<std::string> why = tools::unheld_by(formats_.formats, functions_[k].parameters);
      if (!why) {
        const auto read = grammar::read_grammar(Language::kJsonSchema, dumped(functions_[k].parameters));
        if (read) continue;
        why = read.error().message();
      }
      const std::size_t i = places_[k];
      if (is_strict(tools_[i])) {
        fields_.fail(
            {400, fmt::format("{}: {}", parameters_path(i), *why), parameters_path(i), std::nullopt});
        return false;
      }
      functions_[k].parameters = any_arguments();
    }
    return true;
  }

  CallFrames wanted() const {
    const bool is_one =
        out_.answer.parallel == AnswerParameters::Parallel::kOne || !out_.answer.named.empty();
    return {.count = is_one ? CallFrames::Count::kOne : CallFrames::Count::kSome,
            .text = is_auto() ? CallFrames::Text::kMayCome : CallFrames::Text::kNone,
            .thought = thought(),
            .document = content_};
  }

  CallFrames::Thought thought() const {
    using Thought = CallFrames::Thought;
    if (formats_.formats.harmony == tools::Formats::Harmony::kYes) return Thought::kMayCome;
    if (formats_.formats.reasoning == nullptr) return Thought::kNone;
    if (is_told_apart()) return Thought::kEnded;
    return out_.answer.opened == tools::Opened::kYes ? Thought::kUnderWay : Thought::kMayCome;
  }

  // The structure begins behind the thought. Of one that something else may end, too, or whose begin is not a
  // token, the frames know.
  bool is_told_apart() const {
    const bool is_opened = out_.answer.opened == tools::Opened::kYes;
    return !formats_.thought_end.empty() && formats_.thought_other_end.empty() &&
           (is_opened || formats_.thought_begin.size() == 1);
  }

  request::Structure structure() const {
    request::Structure made{Language::kFrames, source(), {}};
    if (!is_told_apart()) return made;
    made.begins_after = formats_.thought_end;
    if (out_.answer.opened == tools::Opened::kNo) made.thought_begin = formats_.thought_begin[0];
    return made;
  }

  std::string source() const { return dumped(tools::call_frames(formats_.formats, functions_, wanted())); }

  Fields& fields_;
  const ParseContext& context_;
  const AnswerFormats& formats_ = context_.formats;
  Parameters& out_;
  const Json& tools_;
  std::vector<tools::Callable> functions_;
  std::vector<std::size_t> places_;  // of them in tools_
  std::optional<Json> content_;
};

}  // namespace

void read_call_structure(Fields& fields, const ParseContext& context, Parameters& out) {
  if (!fields.error() && out.answer.calls == tools::ParseCalls::kYes)
    CallStructure(fields, context, out).read();
}

}  // namespace concertina::server::openai
