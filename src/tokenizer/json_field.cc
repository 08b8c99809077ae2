#include "tokenizer/json_field.h"

#include <fmt/format.h>

#include <fstream>

namespace concertina::tokenizer {

namespace {

std::string join_path(const std::string& path, std::string_view name) {
  return path.empty() ? std::string(name) : fmt::format("{}.{}", path, name);
}

}  // namespace

Result<JsonField> JsonField::at(std::string_view name) const {
  simdjson::dom::object object;
  if (value_.get(object))
    return invalid(fmt::format("expected an object with \"{}\", found {}", name, excerpt()));
  simdjson::dom::element element;
  if (object.at_key(name).get(element)) return invalid(fmt::format("\"{}\" is missing", name));
  return JsonField(*file_, join_path(path_, name), element);
}

std::optional<JsonField> JsonField::find(std::string_view name) const {
  simdjson::dom::element element;
  if (!value_.is_object() || value_.at_key(name).get(element) || element.is_null()) return std::nullopt;
  return JsonField(*file_, join_path(path_, name), element);
}

Result<std::vector<JsonField>> JsonField::items() const {
  simdjson::dom::array array;
  if (value_.get(array)) return invalid(fmt::format("expected an array, found {}", excerpt()));
  std::vector<JsonField> fields;
  for (const auto element : array)
    fields.emplace_back(*file_, fmt::format("{}[{}]", path_, fields.size()), element);
  return fields;
}

Result<std::string_view> JsonField::string() const {
  std::string_view text;
  if (value_.get(text)) return invalid(fmt::format("expected a string, found {}", excerpt()));
  return text;
}

Result<TokenId> JsonField::token_id() const {
  std::int64_t id = 0;
  if (value_.get(id) || id < 0 || id > kMaxTokenId) {
    return invalid(fmt::format("expected a token id from 0 to {}, found {}", kMaxTokenId, excerpt()));
  }
  return static_cast<TokenId>(id);
}

Result<bool> JsonField::boolean_or(std::string_view name, bool fallback) const {
  const auto field = find(name);
  if (!field) return fallback;
  if (!field->value_.is_bool()) return field->invalid("expected true or false, found " + field->excerpt());
  return field->is_true();
}

Result<std::string_view> JsonField::string_or(std::string_view name, std::string_view fallback) const {
  const auto field = find(name);
  return field ? field->string() : fallback;
}

std::string JsonField::excerpt() const {
  constexpr std::size_t kMaxBytes = 80;
  if (value_.is_object() || value_.is_array()) return value_.is_object() ? "an object" : "an array";
  const std::string text = simdjson::minify(value_);
  return text.size() <= kMaxBytes ? text : text.substr(0, kMaxBytes) + "...";
}

std::string JsonField::where() const { return path_.empty() ? *file_ : fmt::format("{}: {}", *file_, path_); }

tl::unexpected<Error> JsonField::invalid(std::string_view problem) const {
  return fail(TokenizerError::kInvalid, fmt::format("{}: {}", where(), problem));
}

tl::unexpected<Error> JsonField::unsupported(std::string_view supported) const {
  return fail(TokenizerError::kUnsupported,
              fmt::format("{}: {} is not supported; supported: {}", where(), excerpt(), supported));
}

Result<JsonFile> JsonFile::load(const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(const std::string text, read_text_file(path));
  JsonFile file;
  file.name_ = std::make_unique<std::string>(path.string());
  file.parser_ = std::make_unique<simdjson::dom::parser>();
  if (const auto error = file.parser_->parse(text).get(file.root_)) {
    return fail(TokenizerError::kInvalid, fmt::format("{}: not valid JSON ({} bytes): {}", path.string(),
                                                      text.size(), simdjson::error_message(error)));
  }
  return file;
}

Result<std::string> read_text_file(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) {
    return fail(TokenizerError::kMissing, fmt::format("{}: no such file", path.string()));
  }
  std::ifstream stream(path, std::ios::binary);
  std::string text(std::filesystem::file_size(path, error), '\0');
  if (error || !stream.read(text.data(), static_cast<std::streamsize>(text.size()))) {
    return fail(TokenizerError::kMissing, fmt::format("{}: cannot be read", path.string()));
  }
  return text;
}

}  // namespace concertina::tokenizer
