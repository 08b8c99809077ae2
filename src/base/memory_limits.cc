#include "base/memory_limits.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <sstream>

namespace concertina {

namespace {

namespace fs = std::filesystem;

// What both versions of control groups call the same things.
struct Version {
  const char *mount_type, *limit, *used, *cache, *events;
};
constexpr Version kVersion1{"cgroup", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file",
                            "memory.oom_control"},
    kVersion2{"cgroup2", "memory.max", "memory.current", "inactive_file", "memory.events"};
constexpr std::uint64_t kNoLimit = std::uint64_t{1} << 60;  // version 1 says almost 2^63 for none

struct Group {
  const Version* version;
  fs::path mount_point;  // the root included
  fs::path path;         // below it; empty: the mount point itself
  std::string name;      // as /proc/self/cgroup has it
};

std::optional<std::uint64_t> number_in(const fs::path& path) {
  std::ifstream file(path);
  std::uint64_t number = 0;
  return file >> number ? std::optional(number) : std::nullopt;  // "max" is none
}

// Of a file of lines "key value".
std::optional<std::uint64_t> value_of(const fs::path& path, const std::string& key) {
  std::ifstream file(path);
  for (std::string name; file >> name;) {
    std::uint64_t value = 0;
    if (name == key && file >> value) return value;
    file.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
  }
  return std::nullopt;
}

bool has_word(const std::string& list, const std::string& word) {
  std::istringstream words(list);
  for (std::string one; std::getline(words, one, ',');) {
    if (one == word) return true;
  }
  return false;
}

// Where the hierarchy is mounted, and which of its groups is the mount's root: not "/" in a container.
struct Mount {
  fs::path point;
  std::string root;
};

std::optional<Mount> find_mount(const fs::path& root, const Version& version) {
  std::ifstream file(root / "proc/self/mountinfo");
  for (std::string line; std::getline(file, line);) {
    std::istringstream fields(line);
    std::string ignored, mount_root, point, type, source, options;
    fields >> ignored >> ignored >> ignored >> mount_root >> point;
    while (fields >> ignored && ignored != "-") continue;
    fields >> type >> source >> options;
    if (type != version.mount_type) continue;
    if (&version == &kVersion1 && !has_word(options, "memory")) continue;
    return Mount{root / fs::path(point).relative_path(), mount_root};
  }
  return std::nullopt;
}

// A path below the mount's root; one that is not (of another namespace) is taken for the root itself.
fs::path below(const std::string& mount_root, const std::string& group) {
  if (mount_root == "/") return fs::path(group).relative_path();
  const bool is_below = group.rfind(mount_root, 0) == 0 &&
                        (group.size() == mount_root.size() || group[mount_root.size()] == '/');
  if (!is_below) return {};
  return fs::path(group.substr(mount_root.size())).relative_path();
}

std::vector<Group> own_groups(const fs::path& root) {
  std::vector<Group> groups;
  std::ifstream file(root / "proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const std::size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == line.npos || second == line.npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1),
                      name = line.substr(second + 1);
    const bool is_2 = controllers.empty();
    if (!is_2 && !has_word(controllers, "memory")) continue;
    const Version& version = is_2 ? kVersion2 : kVersion1;
    if (const auto mount = find_mount(root, version))
      groups.push_back({&version, mount->point, below(mount->root, name), name});
  }
  return groups;
}

// From the group up to the root of the mount: each of them bounds it.
void add_limits(const Group& group, std::vector<MemoryLimit>& limits) {
  std::string name = group.name;
  for (fs::path path = group.path;; path = path.parent_path(), name = fs::path(name).parent_path()) {
    const fs::path directory = group.mount_point / path;
    const auto limit = number_in(directory / group.version->limit);
    if (limit && *limit < kNoLimit) {
      const std::uint64_t used = number_in(directory / group.version->used).value_or(0);
      const std::uint64_t cache = value_of(directory / "memory.stat", group.version->cache).value_or(0);
      const std::uint64_t held = used - std::min(used, cache);
      limits.push_back({fmt::format("control group {} ({})", name, group.version->limit), *limit,
                        *limit - std::min(*limit, held)});
    }
    if (path.empty()) return;
  }
}

}  // namespace

std::vector<MemoryLimit> read_memory_limits(const fs::path& root) {
  std::vector<MemoryLimit> limits;
  const auto total = value_of(root / "proc/meminfo", "MemTotal:"),
             available = value_of(root / "proc/meminfo", "MemAvailable:");
  if (total) limits.push_back({"this machine", *total * 1024, available.value_or(*total) * 1024});
  for (const Group& group : own_groups(root)) add_limits(group, limits);
  return limits;
}

std::optional<MemoryLimit> tightest_memory_limit(const fs::path& root) {
  std::optional<MemoryLimit> tightest;
  for (MemoryLimit& limit : read_memory_limits(root))
    if (!tightest || limit.available_bytes < tightest->available_bytes) tightest = std::move(limit);
  return tightest;
}

std::optional<std::uint64_t> n_out_of_memory_kills(const fs::path& root) {
  for (const Group& group : own_groups(root)) {
    const auto count = value_of(group.mount_point / group.path / group.version->events, "oom_kill");
    if (count) return count;
  }
  return std::nullopt;
}

}  // namespace concertina
