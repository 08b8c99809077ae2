#include "checkpoint/config_files.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "checkpoint/error.h"
#include "checkpoint/mapped_file.h"

namespace concertina::checkpoint {

Result<nlohmann::json> read_json(const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(const std::shared_ptr<const MappedFile> file, MappedFile::open(path));
  const auto* const text = reinterpret_cast<const char*>(file->bytes().data());
  try {
    nlohmann::json value = nlohmann::json::parse(text, text + file->bytes().size());
    if (value.is_object()) return value;
    return fail(CheckpointError::kCorrupt, fmt::format("{}: must be a JSON object", path.string()));
  } catch (const nlohmann::json::exception& error) {
    return fail(CheckpointError::kCorrupt, fmt::format("{}: not JSON: {}", path.string(), error.what()));
  }
}

}  // namespace concertina::checkpoint
