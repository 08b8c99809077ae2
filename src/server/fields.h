#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/ids.h"
#include "server/api_error.h"
#include "server/json_body.h"

namespace concertina::server {

// Reads a JSON body field by field and keeps the first error, which says what the field must be and what was
// found. null counts as absent. A whole number is an integer however it is spelt (4.0, 4e0); true or "4" is
// none.
class Fields {
 public:
  // A JSON object, or 400. Nothing that is nested deeper than kMaxDepth gets in: whatever walks through it
  // later may recurse.
  static constexpr std::size_t kMaxDepth = 64;
  static ApiResult<Json> parse(const std::string& body);

  // `body`: an object, which outlives this. `path` goes before each name in messages ("stream_options.").
  explicit Fields(const Json& body, std::string path = "")
      : body_(body.get_ref<const Json::object_t&>()), index_(body_), path_(std::move(path)) {}

  const Json* find(const char* name);
  std::optional<std::int64_t> integer(const char* name, std::int64_t lowest, std::int64_t highest);
  std::optional<double> number(const char* name, double lowest, double highest);
  std::optional<bool> boolean(const char* name);
  std::optional<std::string> text(const char* name);
  std::vector<TokenId> token_ids(const char* name, std::size_t vocab_size);  // a list; empty if absent
  // A field whose support is still to come: 400 unless it is absent or one of the values that mean the same.
  void unsupported(const char* name, const std::vector<Json>& neutral);

  void wrong(const std::string& name, const std::string& must_be, const Json& found);
  void fail(ApiError error);
  const std::optional<ApiError>& error() const { return error_; }
  // Fields that nobody asked for: the first kMaxUnknown.
  static constexpr std::size_t kMaxUnknown = 64;
  std::vector<std::string> unknown() const;
  bool is_known(const std::string& name) const { return known_.contains(name); }  // somebody asked for it

 private:
  const Json::object_t& body_;
  const MemberIndex index_;
  const std::string path_;
  std::set<std::string> known_;
  std::optional<ApiError> error_;
};

}  // namespace concertina::server
