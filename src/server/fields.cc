#include "server/fields.h"

#include <fmt/format.h>

#include <algorithm>

namespace concertina::server {

ApiResult<Json> Fields::parse(const std::string& body) {
  auto parsed = parse_json(body, kMaxDepth);
  if (!parsed) return tl::unexpected<ApiError>(ApiError{400, "the body " + parsed.error(), {}, {}});
  if (parsed->is_object()) return std::move(*parsed);
  return tl::unexpected<ApiError>(ApiError{400, "the body must be a JSON object", {}, {}});
}

const Json* Fields::find(const char* name) {
  known_.insert(name);
  const Json* found = index_.find(name);
  return found == nullptr || found->is_null() ? nullptr : found;
}

void Fields::wrong(const std::string& name, const std::string& must_be, const Json& found) {
  fail({400, fmt::format("{} must be {}, found {}", name, must_be, in_short(found)), name, std::nullopt});
}

void Fields::fail(ApiError error) {
  if (!error_) error_ = std::move(error);
}

std::optional<std::int64_t> Fields::integer(const char* name, std::int64_t lowest, std::int64_t highest) {
  const Json* value = find(name);
  if (value == nullptr) return std::nullopt;
  const auto number = whole_number(*value);
  if (!number || *number < lowest || *number > highest)
    return wrong(path_ + name, fmt::format("an integer in {}..{}", lowest, highest), *value), std::nullopt;
  return number;
}

std::optional<double> Fields::number(const char* name, double lowest, double highest) {
  const Json* value = find(name);
  if (value == nullptr) return std::nullopt;
  const auto number = real_number(*value);
  if (!number || !(*number >= lowest) || !(*number <= highest))
    return wrong(path_ + name, fmt::format("a number in {}..{}", lowest, highest), *value), std::nullopt;
  return number;
}

std::optional<bool> Fields::boolean(const char* name) {
  const Json* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_boolean()) return wrong(path_ + name, "true or false", *value), std::nullopt;
  return value->get<bool>();
}

std::optional<std::string> Fields::text(const char* name) {
  const Json* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_string()) return wrong(path_ + name, "a string", *value), std::nullopt;
  return value->get<std::string>();
}

std::vector<TokenId> Fields::token_ids(const char* name, std::size_t vocab_size) {
  std::vector<TokenId> ids;
  const Json* value = find(name);
  if (value == nullptr) return ids;
  const std::string must_be = fmt::format("a list of token ids in 0..{}", vocab_size - 1);
  if (!value->is_array()) return wrong(path_ + name, must_be, *value), ids;
  for (const Json& id : *value) {
    const auto number = whole_number(id);
    if (!number || *number < 0 || static_cast<std::uint64_t>(*number) >= vocab_size)
      return wrong(path_ + name, must_be, id), ids;
    ids.push_back(static_cast<TokenId>(*number));
  }
  return ids;
}

void Fields::unsupported(const char* name, const std::vector<Json>& neutral) {
  const Json* value = find(name);
  if (value == nullptr || std::find(neutral.begin(), neutral.end(), *value) != neutral.end()) return;
  fail({400, fmt::format("{}{} is not supported yet", path_, name), path_ + name, "unsupported_parameter"});
}

std::vector<std::string> Fields::unknown() const {
  std::vector<std::string> names;
  for (const auto& [name, value] : body_) {
    if (names.size() < kMaxUnknown && !known_.contains(name)) names.push_back(path_ + name);
  }
  return names;
}

}  // namespace concertina::server
