#include "server/dialects/translation.h"

#include <fmt/format.h>

#include <algorithm>

namespace concertina::server::dialects {

void Translation::rename(const char* from, const char* to) {
  if (const Json* value = fields_.find(from)) chat_[to] = *value;
}

void Translation::refuse(const char* name, const std::vector<Json>& neutral, const char* why) {
  const Json* value = fields_.find(name);
  if (value == nullptr) return;
  for (const Json& same : neutral) {
    if (*value == same) return;
  }
  fields_.fail({400, fmt::format("{} is not supported: {}", name, why), name, "unsupported_parameter"});
}

bool Translation::wrong(const std::string& path, const std::string& must_be, const Json* found) {
  fields_.wrong(path, must_be, found == nullptr ? Json() : *found);
  return false;
}

ApiResult<Json> Translation::finish() {
  if (fields_.error()) return tl::unexpected<ApiError>(*fields_.error());
  const std::size_t n_own = chat_.size();
  JsonMembers& members = chat_.get_ref<Json::object_t&>();
  for (const auto& [name, value] : body_.get_ref<const Json::object_t&>()) {
    if (fields_.is_known(name)) continue;
    const auto own_end = members.begin() + static_cast<std::ptrdiff_t>(n_own);
    const bool is_taken =
        std::any_of(members.begin(), own_end, [&name = name](const auto& own) { return own.first == name; });
    if (is_taken)
      return tl::unexpected<ApiError>(
          ApiError{400, fmt::format("{} is no field of this endpoint", name), name, std::nullopt});
    members.emplace_back(name, value);
  }
  return std::move(chat_);
}

const Json* member(const Json& object, const char* key) {
  if (!object.is_object()) return nullptr;
  const auto found = object.find(key);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

bool is_text(const Json* value) { return value != nullptr && value->is_string(); }

std::string text_of(const Json& object, const char* key) {
  const Json* value = member(object, key);
  return is_text(value) ? value->get<std::string>() : std::string();
}

void add_line(Json& text, const char* line_end, const std::string& line) {
  text.get_ref<std::string&>().append(line_end).append(line);
}

// Not through operator[], which looks through all members before: 200,000 would take minutes.
Json without_type(const Json& object) {
  Json out = Json::object();
  JsonMembers& members = out.get_ref<Json::object_t&>();
  for (const auto& [key, value] : object.get_ref<const Json::object_t&>()) {
    if (key != "type" && !value.is_null()) members.emplace_back(key, value);
  }
  return out;
}

std::string dumped(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

}  // namespace concertina::server::dialects
