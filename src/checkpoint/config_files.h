#pragma once

#include <filesystem>

#include <nlohmann/json_fwd.hpp>

#include "base/result.h"

namespace concertina::checkpoint {

// A JSON object in a file; the error names the file and, where it does not parse, the byte.
Result<nlohmann::json> read_json(const std::filesystem::path& path);

}  // namespace concertina::checkpoint
