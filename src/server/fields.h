#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/ids.h"
#include "server/api_error.h"

namespace concertina::server {

std::string shortened(const std::string& text);  // at most 100 bytes, for messages

// Reads a JSON body field by field and keeps the first error, which says what the field must be and what was
// found. null counts as absent. A JSON true, 4.0 or "4" is not an integer.
class Fields {
 public:
  // A JSON object, or 400. Nothing that is nested deeper than kMaxDepth gets in: whatever walks through it
  // later may recurse.
  static constexpr std::size_t kMaxDepth = 64;
  static ApiResult<nlohmann::json> parse(const std::string& body);

  explicit Fields(const nlohmann::json& body) : body_(body) {}

  const nlohmann::json* find(const char* name);
  std::optional<std::int64_t> integer(const char* name, std::int64_t lowest, std::int64_t highest);
  std::optional<double> number(const char* name, double lowest, double highest);
  std::optional<bool> boolean(const char* name);
  std::optional<std::string> text(const char* name);
  std::vector<TokenId> token_ids(const char* name, std::size_t vocab_size);  // a list; empty if absent
  // A field whose support is still to come: 400 unless it is absent or one of the values that mean the same.
  void unsupported(const char* name, std::initializer_list<nlohmann::json> neutral);

  void wrong(const std::string& name, const std::string& must_be, const nlohmann::json& found);
  void fail(ApiError error);
  const std::optional<ApiError>& error() const { return error_; }
  std::vector<std::string> unknown() const;  // fields that nobody asked for

 private:
  const nlohmann::json& body_;
  std::set<std::string> known_;
  std::optional<ApiError> error_;
};

}  // namespace concertina::server
