#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "base/result.h"

namespace concertina::checkpoint {

// A JSON object in `text`, also as Python's json module writes it: NaN and the like are the stand-ins of
// base/json_text.h. The error begins with `name` and says where the text does not parse. A key that
// appears twice in one object is refused: no tool writes that, and whoever did by hand does not know which
// one counts (Python: the last).
Result<nlohmann::json> parse_json(std::string_view text, const std::string& name);

// The same for a file of at most 100 MB.
Result<nlohmann::json> read_json(const std::filesystem::path& path);

}  // namespace concertina::checkpoint
