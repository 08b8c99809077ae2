#include "checkpoint/fingerprint.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <map>
#include <sstream>

#include "checkpoint/error.h"

namespace concertina::checkpoint {

namespace {

bool is_part(const std::string& name) {
  return name == "config.json" || name.ends_with(".safetensors") || name.ends_with(".safetensors.index.json");
}

// name -> "10088632 bytes, written at 1763924987.123456789"
std::map<std::string, std::string> files_of(const std::string& fingerprint) {
  std::map<std::string, std::string> files;
  std::istringstream lines(fingerprint);
  for (std::string line; std::getline(lines, line);) {
    const std::size_t end = line.find('\t');
    files[line.substr(0, end)] = line.substr(end + 1);
  }
  return files;
}

}  // namespace

Result<std::string> fingerprint(const std::filesystem::path& folder) {
  std::map<std::string, std::string> files;  // in one order, whatever the file system's
  std::error_code failed;
  std::filesystem::directory_iterator entry(folder, failed);
  for (; !failed && entry != std::filesystem::directory_iterator(); entry.increment(failed)) {
    const std::string name = entry->path().filename().string();
    if (!is_part(name)) continue;
    struct stat info {};
    if (stat(entry->path().c_str(), &info) != 0) {
      return fail(CheckpointError::kUnreadable,
                  fmt::format("{}: {}", entry->path().string(), strerror(errno)));
    }
    files[name] =
        fmt::format("{} bytes, written at {}.{:09}", info.st_size, info.st_mtim.tv_sec, info.st_mtim.tv_nsec);
  }
  if (failed)
    return fail(CheckpointError::kNotFound, fmt::format("{}: {}", folder.string(), failed.message()));
  std::string all;
  for (const auto& [name, what] : files) all += fmt::format("{}\t{}\n", name, what);
  return all;
}

std::string describe_difference(const std::string& expected, const std::string& found) {
  const auto before = files_of(expected), now = files_of(found);
  for (const auto& [name, what] : before) {
    const auto same = now.find(name);
    if (same == now.end()) return fmt::format("{} is gone ({})", name, what);
    if (same->second != what) return fmt::format("{} has {}; it had {}", name, same->second, what);
  }
  for (const auto& [name, what] : now) {
    if (!before.contains(name)) return fmt::format("{} is new ({})", name, what);
  }
  return "";
}

}  // namespace concertina::checkpoint
