#include "tokenizer/chat_template.h"

#include <fmt/format.h>

#include <fstream>
#include <sstream>

#include "tokenizer/error.h"
#include "tokenizer/jinja/renderer.h"

namespace concertina::tokenizer {

struct ChatTemplate::Parsed {
  jinja::Body body;
};

namespace {

Result<std::string> read_text(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  if (!file) return fail(TokenizerError::kNotFound, fmt::format("{}: cannot be read", path.string()));
  return text.str();
}

}  // namespace

Result<ChatTemplate> ChatTemplate::parse(const std::string& name, const std::string& source) {
  ChatTemplate made;
  made.name_ = name;
  try {
    auto parsed = std::make_shared<Parsed>();
    parsed->body = jinja::parse_template(source);
    made.parsed_ = std::move(parsed);
  } catch (const jinja::TemplateError& error) {
    return fail(TokenizerError::kCorrupt, fmt::format("{}: line {}: {}", name, error.line, error.what));
  }
  return made;
}

Result<ChatTemplate> ChatTemplate::load(const std::filesystem::path& folder) {
  const auto own_file = folder / "chat_template.jinja", config_file = folder / "tokenizer_config.json";
  if (std::filesystem::exists(own_file)) {
    ASSIGN_OR_RETURN(const std::string source, read_text(own_file));
    return parse(own_file.string(), source);
  }
  const auto none = fail(TokenizerError::kNotFound, fmt::format("{}: has no chat template", folder.string()));
  if (!std::filesystem::exists(config_file)) return none;
  ASSIGN_OR_RETURN(const std::string text, read_text(config_file));
  const auto config = nlohmann::json::parse(text, nullptr, false);
  if (!config.is_object())
    return fail(TokenizerError::kCorrupt, fmt::format("{}: not a JSON object", config_file.string()));
  const auto found = config.find("chat_template");
  if (found == config.end() || found->is_null()) return none;
  if (found->is_string()) return parse(config_file.string() + ": chat_template", found->get<std::string>());
  if (found->is_array()) {
    for (const auto& one : *found) {
      if (one.is_object() && one.value("name", "") == "default" && one.contains("template") &&
          one["template"].is_string()) {
        return parse(config_file.string() + ": chat_template \"default\"",
                     one["template"].get<std::string>());
      }
    }
  }
  return fail(TokenizerError::kCorrupt,
              fmt::format("{}: chat_template must be a text, or a list with one named \"default\"",
                          config_file.string()));
}

Result<std::string> ChatTemplate::render(const nlohmann::ordered_json& variables, std::time_t now) const {
  try {
    return jinja::render_template(parsed_->body, variables, now);
  } catch (const jinja::TemplateError& error) {
    return fail(TokenizerError::kRender, fmt::format("{}: line {}: {}", name_, error.line, error.what));
  } catch (const nlohmann::json::exception& error) {
    return fail(TokenizerError::kRender, fmt::format("{}: {}", name_, error.what()));
  }
}

}  // namespace concertina::tokenizer
