#include "checkpoint/fingerprint.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <xxhash.h>

#include <cerrno>
#include <cstring>
#include <map>
#include <string>

#include "checkpoint/error.h"

namespace concertina::checkpoint {

Result<std::uint64_t> fingerprint(const std::filesystem::path& folder) {
  std::map<std::string, std::string> files;  // in one order, whatever the file system's
  std::error_code failed;
  for (const auto& entry : std::filesystem::directory_iterator(folder, failed)) {
    const std::string name = entry.path().filename().string();
    const bool counts =
        name == "config.json" || name.ends_with(".safetensors") || name.ends_with(".safetensors.index.json");
    if (!counts) continue;
    struct stat info {};
    if (stat(entry.path().c_str(), &info) != 0) {
      return fail(CheckpointError::kUnreadable,
                  fmt::format("{}: {}", entry.path().string(), strerror(errno)));
    }
    files[name] = fmt::format("{} {}.{:09}", info.st_size, info.st_mtim.tv_sec, info.st_mtim.tv_nsec);
  }
  if (failed)
    return fail(CheckpointError::kNotFound, fmt::format("{}: {}", folder.string(), failed.message()));
  std::string all;
  for (const auto& [name, what] : files) all += fmt::format("{} {}\n", name, what);
  return XXH64(all.data(), all.size(), 0);
}

}  // namespace concertina::checkpoint
