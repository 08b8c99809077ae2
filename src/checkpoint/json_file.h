#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "base/result.h"
#include "checkpoint/errors.h"

namespace concertina::checkpoint {

// Parses one JSON object. Unlike the library's default it refuses a key that appears twice in one object: two offsets for
// one tensor must not pass in silence. `name` is put before the message; `code` is the error's code.
Result<nlohmann::json> parse_json_object(std::string_view text, const std::string& name, CheckpointError code);

// The same for a file of at most 100 MB.
Result<nlohmann::json> read_json_file(const std::filesystem::path& path, CheckpointError code = CheckpointError::kBadJson);

// `folder`/config.json.
Result<nlohmann::json> read_config(const std::filesystem::path& folder);

// `folder`/generation_config.json, which a checkpoint may lack.
Result<std::optional<nlohmann::json>> read_generation_config(const std::filesystem::path& folder);

}  // namespace concertina::checkpoint
