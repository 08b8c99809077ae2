#include "tokenizer/tokenizer_config.h"

#include <fmt/format.h>

#include <charconv>

#include "tokenizer/json_field.h"
#include "tokenizer/model_file.h"

namespace concertina::tokenizer {

namespace {

// "<s>" or {"content": "<s>", ...}.
Result<std::optional<std::string>> read_role(const JsonField& root, std::string_view name) {
  const auto field = root.find(name);
  if (!field) return std::nullopt;
  ASSIGN_OR_RETURN(const JsonField content,
                   field->is_string() ? Result<JsonField>(*field) : field->at("content"));
  ASSIGN_OR_RETURN(const auto text, content.string());
  return std::string(text);
}

Status read_added_tokens_decoder(const JsonField& root, std::vector<AddedToken>& out) {
  const auto table = root.find("added_tokens_decoder");
  if (!table) return {};
  simdjson::dom::object entries;
  if (table->value().get(entries)) return table->invalid("expected an object, found " + table->excerpt());
  for (const auto entry : entries) {
    TokenId id = -1;
    const char* end = entry.key.data() + entry.key.size();
    const auto parsed = std::from_chars(entry.key.data(), end, id);
    if (parsed.ec != std::errc() || parsed.ptr != end || id < 0 || id > kMaxTokenId) {
      return table->invalid(fmt::format("expected ids from 0 to {}, found \"{}\"", kMaxTokenId, entry.key));
    }
    ASSIGN_OR_RETURN(const JsonField field, table->at(entry.key));
    ASSIGN_OR_RETURN(AddedToken token, read_added_token(field, id));
    out.push_back(std::move(token));
  }
  return {};
}

Status read_chat_templates(const JsonField& root, TokenizerConfig& config) {
  const auto field = root.find("chat_template");
  if (!field) return {};
  if (field->is_string()) {
    config.chat_templates.emplace_back("default", *field->string());
    return {};
  }
  if (field->value().is_object()) {  // name -> text
    for (const auto entry : simdjson::dom::object(field->value())) {
      ASSIGN_OR_RETURN(const auto source_field, field->at(entry.key));
      ASSIGN_OR_RETURN(const auto source, source_field.string());
      config.chat_templates.emplace_back(entry.key, source);
    }
    return {};
  }
  if (!field->is_array())
    return field->invalid("expected a text or a list of named texts, found " + field->excerpt());
  ASSIGN_OR_RETURN(const auto items, field->items());
  for (const JsonField& item : items) {
    ASSIGN_OR_RETURN(const auto name_field, item.at("name"));
    ASSIGN_OR_RETURN(const auto name, name_field.string());
    ASSIGN_OR_RETURN(const auto source_field, item.at("template"));
    ASSIGN_OR_RETURN(const auto source, source_field.string());
    config.chat_templates.emplace_back(name, source);
  }
  return {};
}

Result<std::optional<bool>> read_flag(const JsonField& root, std::string_view name) {
  if (!root.find(name)) return std::nullopt;
  ASSIGN_OR_RETURN(const bool value, root.boolean_or(name, false));
  return value;
}

bool decides_bos_itself(std::string_view tokenizer_class) {
  return tokenizer_class == "LlamaTokenizerFast" || tokenizer_class == "LlamaTokenizer" ||
         tokenizer_class == "CodeLlamaTokenizerFast" || tokenizer_class == "CodeLlamaTokenizer";
}

Status append_role(const TokenizerConfig& config, std::string_view flag, std::string_view role,
                   const std::optional<std::string>& text, const Vocabulary& vocabulary,
                   std::vector<TokenId>& out) {
  const auto id = text ? vocabulary.id_of(*text) : std::nullopt;
  if (!id) {
    return fail(TokenizerError::kInvalid,
                fmt::format("{}: {}: is true, but {} is {}", config.path, flag, role,
                            text ? fmt::format("\"{}\", no token of the vocabulary", *text) : "not set"));
  }
  out.push_back(*id);
  return {};
}

}  // namespace

Result<TokenizerConfig> load_tokenizer_config(const std::filesystem::path& model_folder) {
  TokenizerConfig config;
  config.path = (model_folder / "tokenizer_config.json").string();
  auto file = JsonFile::load(config.path);
  if (!file && file.error().is(TokenizerError::kMissing)) return config;
  if (!file) return fail(file.error());
  const JsonField root = file->root();
  if (!root.value().is_object()) return root.invalid("expected an object, found " + root.excerpt());
  ASSIGN_OR_RETURN(const auto tokenizer_class, root.string_or("tokenizer_class", ""));
  config.tokenizer_class = tokenizer_class;
  ASSIGN_OR_RETURN(config.special_tokens.bos, read_role(root, "bos_token"));
  ASSIGN_OR_RETURN(config.special_tokens.eos, read_role(root, "eos_token"));
  ASSIGN_OR_RETURN(config.special_tokens.unk, read_role(root, "unk_token"));
  ASSIGN_OR_RETURN(config.special_tokens.pad, read_role(root, "pad_token"));
  RETURN_IF_ERROR(read_added_tokens_decoder(root, config.added_tokens));
  ASSIGN_OR_RETURN(config.add_bos, read_flag(root, "add_bos_token"));
  ASSIGN_OR_RETURN(config.add_eos, read_flag(root, "add_eos_token"));
  RETURN_IF_ERROR(read_chat_templates(root, config));
  return config;
}

Status apply_config_template(const TokenizerConfig& config, const Vocabulary& vocabulary,
                             PromptTemplate& out) {
  if (!decides_bos_itself(config.tokenizer_class)) return {};
  const SpecialTokens& roles = config.special_tokens;
  out = {};
  if (config.add_bos.value_or(true)) {
    RETURN_IF_ERROR(append_role(config, "add_bos_token", "bos_token", roles.bos, vocabulary, out.prefix));
  }
  if (config.add_eos.value_or(false)) {
    RETURN_IF_ERROR(append_role(config, "add_eos_token", "eos_token", roles.eos, vocabulary, out.suffix));
  }
  return {};
}

}  // namespace concertina::tokenizer
