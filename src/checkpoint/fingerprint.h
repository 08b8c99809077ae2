#pragma once

#include <cstdint>
#include <filesystem>

#include "base/result.h"

namespace concertina::checkpoint {

// A number that changes when a checkpoint folder's files do: made of name, size and time of the last change
// of config.json and every *.safetensors and index file, not of their content. Ranks that start later must
// find the checkpoint that the first ones found: weights of two would mix without a sign.
Result<std::uint64_t> fingerprint(const std::filesystem::path& folder);

}  // namespace concertina::checkpoint
