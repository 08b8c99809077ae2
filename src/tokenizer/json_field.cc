#include "tokenizer/json_field.h"

#include <fmt/format.h>

#include <cmath>
#include <fstream>

#include "base/json_text.h"

namespace concertina::tokenizer {

namespace {

std::string join_path(const std::string& path, std::string_view name) {
  return path.empty() ? std::string(name) : fmt::format("{}.{}", path, name);
}

std::optional<simdjson::dom::element> last_member(simdjson::dom::element value, std::string_view name) {
  std::optional<simdjson::dom::element> last;
  if (!value.is_object()) return last;
  for (const auto member : simdjson::dom::object(value)) {
    if (member.key == name) last = member.value;
  }
  return last;
}

// Strict JSON first, which nearly all files are: to rewrite one costs some ten milliseconds a megabyte.
simdjson::error_code parse_as_python_does(simdjson::dom::parser& parser, std::string& text,
                                          simdjson::dom::element& root) {
  const auto error = parser.parse(text).get(root);
  if (!error) return error;
  std::string strict = to_strict_json(text);
  if (strict == text || parser.parse(strict).get(root)) return error;
  text = std::move(strict);
  return simdjson::SUCCESS;
}

}  // namespace

Result<JsonField> JsonField::at(std::string_view name) const {
  if (!value_.is_object())
    return invalid(fmt::format("expected an object with \"{}\", found {}", name, excerpt()));
  const auto element = last_member(value_, name);
  if (!element) return invalid(fmt::format("\"{}\" is missing", name));
  return JsonField(*file_, join_path(path_, name), *element);
}

std::optional<JsonField> JsonField::find(std::string_view name) const {
  const auto element = last_member(value_, name);
  if (!element || element->is_null()) return std::nullopt;
  return JsonField(*file_, join_path(path_, name), *element);
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
  const auto id = whole_number(value_);
  if (!id || *id < 0 || *id > kMaxTokenId) {
    return invalid(fmt::format("expected a token id from 0 to {}, found {}", kMaxTokenId, excerpt()));
  }
  return static_cast<TokenId>(*id);
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

std::optional<std::int64_t> whole_number(simdjson::dom::element element) {
  std::int64_t integer = 0;
  if (!element.get(integer)) return integer;
  constexpr double kBeyond = 9223372036854775808.0;  // 2^63
  if (!element.is_double()) return std::nullopt;
  const double number = element;
  if (number < -kBeyond || number >= kBeyond || number != std::trunc(number)) return std::nullopt;
  return static_cast<std::int64_t>(number);
}

std::string JsonField::excerpt() const {
  constexpr std::size_t kMaxBytes = 80;
  if (value_.is_object() || value_.is_array()) return value_.is_object() ? "an object" : "an array";
  if (value_.is_double()) {
    if (const auto name = name_of_stand_in(double(value_)); !name.empty()) return std::string(name);
  }
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
  ASSIGN_OR_RETURN(std::string text, read_text_file(path));
  JsonFile file;
  file.name_ = std::make_unique<std::string>(path.string());
  file.parser_ = std::make_unique<simdjson::dom::parser>();
  if (const auto error = parse_as_python_does(*file.parser_, text, file.root_)) {
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
