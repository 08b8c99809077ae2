#pragma once

#include <simdjson.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "tokenizer/error.h"

namespace concertina::tokenizer {

// A value in a JSON file that knows where it is, so that errors can say so. Lives no longer than its
// JsonFile.
class JsonField {
 public:
  JsonField(const std::string& file, std::string path, simdjson::dom::element value)
      : file_(&file), path_(std::move(path)), value_(value) {}

  // Of a name that is there twice, the last one counts, as in Python.
  Result<JsonField> at(std::string_view name) const;  // kInvalid if absent
  std::optional<JsonField> find(
      std::string_view name) const;              // nothing if absent, null, or this is no object
  Result<std::vector<JsonField>> items() const;  // of an array; for short ones
  Result<std::string_view> string() const;
  Result<TokenId> token_id() const;  // 0 .. kMaxTokenId
  bool is_string() const { return value_.is_string(); }
  bool is_array() const { return value_.is_array(); }
  bool is_true() const { return value_.is_bool() && bool(value_); }

  // `name`'s value, or `fallback` where it is absent or null; another type is an error.
  Result<bool> boolean_or(std::string_view name, bool fallback) const;
  Result<std::string_view> string_or(std::string_view name, std::string_view fallback) const;

  simdjson::dom::element value() const { return value_; }
  const std::string& path() const { return path_; }
  std::string excerpt() const;  // the value as JSON, cut short

  std::string where() const;  // "FILE: PATH"
  tl::unexpected<Error> invalid(std::string_view problem) const;
  tl::unexpected<Error> unsupported(std::string_view supported) const;  // says what was found

 private:
  const std::string* file_;
  std::string path_;
  simdjson::dom::element value_;
};

// The number if it is whole, however it is spelt (8, 8.0, 8e0).
std::optional<std::int64_t> whole_number(simdjson::dom::element element);

// Ids index arrays of this size, and rows of an embedding: no published vocabulary comes near it.
inline constexpr TokenId kMaxTokenId = (1 << 24) - 1;

class JsonFile {
 public:
  // kMissing or kInvalid. Also as Python's json module writes it: NaN and the like are the stand-ins of
  // base/json_text.h.
  static Result<JsonFile> load(const std::filesystem::path& path);
  JsonField root() const { return JsonField(*name_, "", root_); }

 private:
  JsonFile() = default;
  std::unique_ptr<std::string> name_;  // on the heap, as the parser: fields point at it while the file moves
  std::unique_ptr<simdjson::dom::parser> parser_;
  simdjson::dom::element root_;
};

Result<std::string> read_text_file(const std::filesystem::path& path);  // kMissing

}  // namespace concertina::tokenizer
