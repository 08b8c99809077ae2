#pragma once

#include <filesystem>
#include <string>

#include "base/result.h"

namespace concertina::checkpoint {

// A checkpoint folder's files, one a line: name, size and time of the last change of config.json and every
// *.safetensors and index file, not their content. Ranks that start later must find the checkpoint that the
// first ones found: weights of two would mix without a sign.
Result<std::string> fingerprint(const std::filesystem::path& folder);

// What a person needs to know of two that differ: the first file that does, and how. Empty if none does.
std::string describe_difference(const std::string& expected, const std::string& found);

}  // namespace concertina::checkpoint
