#include "checkpoint/config_files.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <vector>

#include "base/json_text.h"
#include "checkpoint/error.h"
#include "checkpoint/mapped_file.h"

namespace concertina::checkpoint {

namespace {

using nlohmann::json;

constexpr std::size_t kMaxBytes = 100'000'000;

// The keys of every object still open while parsing, and the first one seen twice.
class RepeatedKey {
 public:
  void on_event(json::parse_event_t event, const json& value) {
    if (event == json::parse_event_t::object_start) open_.emplace_back();
    if (event == json::parse_event_t::object_end) open_.pop_back();
    if (event != json::parse_event_t::key || found_) return;
    const auto& key = value.get_ref<const std::string&>();
    if (!open_.back().insert(key).second) found_ = key;
  }
  const std::optional<std::string>& found() const { return found_; }

 private:
  std::vector<std::set<std::string>> open_;
  std::optional<std::string> found_;
};

Result<json> parse_strictly(std::string_view text, const std::string& name) {
  RepeatedKey repeated;
  try {
    json value = json::parse(text.begin(), text.end(), [&](int, json::parse_event_t event, const json& part) {
      repeated.on_event(event, part);
      return true;
    });
    if (!value.is_object())
      return fail(CheckpointError::kCorrupt, fmt::format("{}: must be a JSON object", name));
    if (repeated.found()) {
      return fail(CheckpointError::kCorrupt,
                  fmt::format("{}: {} appears twice in one object", name, *repeated.found()));
    }
    return value;
  } catch (const json::exception& error) {
    return fail(CheckpointError::kCorrupt, fmt::format("{}: not JSON: {}", name, error.what()));
  }
}

}  // namespace

// As it is first, which is right for nearly all: a header of safetensors may have many megabytes.
Result<json> parse_json(std::string_view text, const std::string& name) {
  auto value = parse_strictly(text, name);
  if (value) return value;
  const std::string strict = to_strict_json(text);
  return strict == text ? value : parse_strictly(strict, name);
}

Result<json> read_json(const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(const std::shared_ptr<const MappedFile> file, MappedFile::open(path));
  const auto bytes = file->bytes();
  if (bytes.size() > kMaxBytes) {
    return fail(CheckpointError::kCorrupt,
                fmt::format("{}: has {} bytes; at most {} are read", path.string(), bytes.size(), kMaxBytes));
  }
  return parse_json({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, path.string());
}

}  // namespace concertina::checkpoint
