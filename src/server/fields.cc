#include "server/fields.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace concertina::server {

using nlohmann::json;

std::string shortened(const std::string& text) {
  return text.size() <= 100 ? text : text.substr(0, 100) + "...";
}

namespace {

std::size_t nesting_of(const std::string& body) {
  std::size_t depth = 0, deepest = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < body.size(); ++i) {
    const char c = body[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      deepest = std::max(deepest, ++depth);
    } else if ((c == ']' || c == '}') && depth > 0) {
      --depth;
    }
  }
  return deepest;
}

// Without the library's "[json.exception.parse_error.101] ".
std::string plain(const std::string& what) {
  const std::size_t end = what.find("] ");
  return what.starts_with('[') && end != std::string::npos ? what.substr(end + 2) : what;
}

}  // namespace

ApiResult<json> Fields::parse(const std::string& body) {
  if (nesting_of(body) > kMaxDepth) {
    return tl::unexpected<ApiError>(
        ApiError{400, fmt::format("the body is nested more than {} levels deep", kMaxDepth), {}, {}});
  }
  try {
    json parsed = json::parse(body);
    if (parsed.is_object()) return parsed;
    return tl::unexpected<ApiError>(ApiError{400, "the body must be a JSON object", {}, {}});
  } catch (const json::exception& error) {
    return tl::unexpected<ApiError>(
        ApiError{400, fmt::format("the body is not JSON: {}", plain(error.what())), {}, {}});
  }
}

const json* Fields::find(const char* name) {
  known_.insert(name);
  const auto found = body_.find(name);
  return found == body_.end() || found->is_null() ? nullptr : &*found;
}

void Fields::wrong(const std::string& name, const std::string& must_be, const json& found) {
  const std::string text = found.dump(-1, ' ', false, json::error_handler_t::replace);
  fail({400, fmt::format("{} must be {}, found {}", name, must_be, shortened(text)), name, std::nullopt});
}

void Fields::fail(ApiError error) {
  if (!error_) error_ = std::move(error);
}

std::optional<std::int64_t> Fields::integer(const char* name, std::int64_t lowest, std::int64_t highest) {
  const json* value = find(name);
  if (value == nullptr) return std::nullopt;
  const bool fits =
      value->is_number_integer() && !(value->is_number_unsigned() && value->get<std::uint64_t>() > INT64_MAX);
  if (!fits || value->get<std::int64_t>() < lowest || value->get<std::int64_t>() > highest) {
    const bool open = highest == INT64_MAX;
    wrong(name,
          open ? fmt::format("an integer, {} or above", lowest)
               : fmt::format("an integer in {}..{}", lowest, highest),
          *value);
    return std::nullopt;
  }
  return value->get<std::int64_t>();
}

std::optional<double> Fields::number(const char* name, double lowest, double highest) {
  const json* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_number() || !(value->get<double>() >= lowest) || !(value->get<double>() <= highest)) {
    wrong(name, fmt::format("a number in {}..{}", lowest, highest), *value);
    return std::nullopt;
  }
  return value->get<double>();
}

std::optional<bool> Fields::boolean(const char* name) {
  const json* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_boolean()) return wrong(name, "true or false", *value), std::nullopt;
  return value->get<bool>();
}

std::optional<std::string> Fields::text(const char* name) {
  const json* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_string()) return wrong(name, "a string", *value), std::nullopt;
  return value->get<std::string>();
}

std::vector<TokenId> Fields::token_ids(const char* name, std::size_t vocab_size) {
  std::vector<TokenId> ids;
  const json* value = find(name);
  if (value == nullptr) return ids;
  const std::string must_be = fmt::format("a list of token ids in 0..{}", vocab_size - 1);
  if (!value->is_array()) return wrong(name, must_be, *value), ids;
  for (const json& id : *value) {
    if (!id.is_number_unsigned() || id.get<std::uint64_t>() >= vocab_size)
      return wrong(name, must_be, id), ids;
    ids.push_back(id.get<TokenId>());
  }
  return ids;
}

void Fields::unsupported(const char* name, std::initializer_list<json> neutral) {
  const json* value = find(name);
  if (value == nullptr || std::find(neutral.begin(), neutral.end(), *value) != neutral.end()) return;
  fail({400, fmt::format("{} is not supported yet", name), name, "unsupported_parameter"});
}

std::vector<std::string> Fields::unknown() const {
  std::vector<std::string> names;
  for (const auto& [name, value] : body_.items()) {
    if (!known_.contains(name)) names.push_back(name);
  }
  return names;
}

}  // namespace concertina::server
