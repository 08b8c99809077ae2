#include "checkpoint/json_file.h"

#include <set>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "checkpoint/mapped_file.h"

namespace concertina::checkpoint {

namespace {

constexpr std::size_t kMaxJsonBytes = 100'000'000;

// The keys of every object that is still open while parsing, and the first one seen twice.
class DuplicateKeys {
 public:
  void on_event(nlohmann::json::parse_event_t event, const nlohmann::json& value) {
    using Event = nlohmann::json::parse_event_t;
    if (event == Event::object_start) open_.emplace_back();
    if (event == Event::object_end && !open_.empty()) open_.pop_back();
    if (event != Event::key || open_.empty() || duplicate_) return;
    const auto& key = value.get_ref<const std::string&>();
    if (!open_.back().insert(key).second) duplicate_ = key;
  }
  const std::optional<std::string>& first() const { return duplicate_; }

 private:
  std::vector<std::set<std::string>> open_;
  std::optional<std::string> duplicate_;
};

}  // namespace

Result<nlohmann::json> parse_json_object(std::string_view text, const std::string& name, CheckpointError code) {
  DuplicateKeys keys;
  nlohmann::json json;
  try {
    json = nlohmann::json::parse(text.begin(), text.end(),
                                 [&](int, nlohmann::json::parse_event_t event, nlohmann::json& value) {
                                   keys.on_event(event, value);
                                   return true;
                                 });
  } catch (const nlohmann::json::exception& error) {
    return fail(code, fmt::format("{}: not JSON: {}", name, error.what()));
  }
  if (!json.is_object()) {
    return fail(code, fmt::format("{}: found a JSON {}, expected an object", name, json.type_name()));
  }
  if (keys.first()) return fail(code, fmt::format("{}: '{}' appears twice in one object", name, *keys.first()));
  return json;
}

Result<nlohmann::json> read_json_file(const std::filesystem::path& path, CheckpointError code) {
  ASSIGN_OR_RETURN(const MappedFile file, MappedFile::open(path));
  const auto bytes = file.bytes();
  if (bytes.size() > kMaxJsonBytes) {
    return fail(code, fmt::format("{}: {} bytes, expected at most {}", path.string(), bytes.size(), kMaxJsonBytes));
  }
  return parse_json_object({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, path.string(), code);
}

Result<nlohmann::json> read_config(const std::filesystem::path& folder) {
  std::error_code ignored;
  if (!std::filesystem::is_directory(folder, ignored)) {
    return fail(CheckpointError::kFileUnreadable,
                fmt::format("{}: not a folder; expected a model folder with config.json", folder.string()));
  }
  return read_json_file(folder / "config.json");
}

Result<std::optional<nlohmann::json>> read_generation_config(const std::filesystem::path& folder) {
  const auto path = folder / "generation_config.json";
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) return std::optional<nlohmann::json>();
  ASSIGN_OR_RETURN(auto json, read_json_file(path));
  return std::optional<nlohmann::json>(std::move(json));
}

}  // namespace concertina::checkpoint
