#include "checkpoint/fingerprint.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <map>
#include <optional>
#include <sstream>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "checkpoint/error.h"
#include "checkpoint/mapped_file.h"

namespace concertina::checkpoint {

namespace {

constexpr std::uint64_t kMaxHeaderBytes = 100u << 20;  // as safetensors.cc
constexpr std::string_view kHash = ", described by ";

enum class Depth : std::uint8_t { kTimes, kHashes };

bool is_weights(const std::string& name) { return name.ends_with(".safetensors"); }
bool is_part(const std::string& name, Files which) {
  if (which == Files::kTexts) {
    constexpr std::array<std::string_view, 4> kTexts{"tokenizer.json", "tokenizer_config.json",
                                                     "chat_template.jinja", "generation_config.json"};
    return std::find(kTexts.begin(), kTexts.end(), name) != kTexts.end();
  }
  return name == "config.json" || is_weights(name) || name.ends_with(".safetensors.index.json");
}

std::string time_of(const timespec& time) {
  return fmt::format("{:%Y-%m-%d %H:%M:%S}.{:09} UTC", fmt::gmtime(time.tv_sec), time.tv_nsec);
}

// Of a file that is being written: of what is there.
Result<std::uint64_t> hash_of(const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(const std::shared_ptr<const MappedFile> file, MappedFile::open(path));
  const std::uint64_t size = file->bytes().size();
  std::uint64_t length = 0, n_hashed = std::min(size, kMaxHeaderBytes);
  if (is_weights(path.filename().string())) {
    if (size >= sizeof(length)) RETURN_IF_ERROR(file->read(0, std::as_writable_bytes(std::span(&length, 1))));
    n_hashed = std::min({size, kMaxHeaderBytes, sizeof(length) + std::min(length, kMaxHeaderBytes)});
  }
  std::string text(n_hashed, '\0');
  RETURN_IF_ERROR(file->read(0, std::as_writable_bytes(std::span(text))));
  return XXH3_64bits(text.data(), text.size());
}

// None: it is gone.
Result<std::optional<std::string>> describe_file(const std::filesystem::path& path, Depth depth) {
  struct stat info {};
  if (stat(path.c_str(), &info) != 0) {
    if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP) return std::nullopt;
    return fail(CheckpointError::kUnreadable, fmt::format("{}: {}", path.string(), strerror(errno)));
  }
  std::string what = fmt::format("{} bytes, inode {}, written at {}, attributes set at {}", info.st_size,
                                 info.st_ino, time_of(info.st_mtim), time_of(info.st_ctim));
  if (depth == Depth::kTimes) return what;
  const auto hash = hash_of(path);
  if (!hash && hash.error().is(CheckpointError::kNotFound)) return std::nullopt;
  what += hash ? fmt::format("{}{:016x}", kHash, *hash) : fmt::format("{}nothing that can be read", kHash);
  return what;
}

Result<std::string> look_at(const std::filesystem::path& folder, Files which, Depth depth) {
  std::map<std::string, std::string> files;  // in one order, whatever the file system's
  std::error_code failed;
  std::filesystem::directory_iterator entry(folder, failed);
  for (; !failed && entry != std::filesystem::directory_iterator(); entry.increment(failed)) {
    const std::string name = entry->path().filename().string();
    if (!is_part(name, which)) continue;
    ASSIGN_OR_RETURN(const std::optional<std::string> what, describe_file(entry->path(), depth));
    if (what) files[name] = *what;
  }
  if (failed) {
    const bool is_gone =
        failed == std::errc::no_such_file_or_directory || failed == std::errc::not_a_directory;
    return fail(is_gone ? CheckpointError::kNotFound : CheckpointError::kUnreadable,
                fmt::format("{}: {}", folder.string(), failed.message()));
  }
  std::string all;
  for (const auto& [name, what] : files) all += fmt::format("{}\t{}\n", name, what);
  return all;
}

// name -> "10088632 bytes, inode 7, written at 1763924987.123456789, ..."
std::map<std::string, std::string> files_of(const std::string& fingerprint) {
  std::map<std::string, std::string> files;
  std::istringstream lines(fingerprint);
  for (std::string line; std::getline(lines, line);) {
    const std::size_t end = line.find('\t');
    files[line.substr(0, end)] = line.substr(end + 1);
  }
  return files;
}

std::vector<std::string> parts_of(const std::string& what) {
  std::vector<std::string> parts;
  for (std::size_t begin = 0; begin <= what.size();) {
    const std::size_t end = std::min(what.size(), what.find(", ", begin));
    parts.push_back(what.substr(begin, end - begin));
    begin = end + 2;
  }
  return parts;
}

// "written at 1.0" -> "1.0": what a part says, without the words around it.
std::string value_of(const std::string& part) {
  for (const std::string_view label : {"inode ", "written at ", "attributes set at ", "described by "}) {
    if (part.starts_with(label)) return part.substr(label.size());
  }
  constexpr std::string_view kUnit = " bytes";
  return part.ends_with(kUnit) ? part.substr(0, part.size() - kUnit.size()) : part;
}

// Only the parts that differ.
std::string compare(const std::string& name, const std::string& before, const std::string& now) {
  const auto old_parts = parts_of(before), new_parts = parts_of(now);
  std::vector<std::string> differences;
  for (std::size_t i = 0; i < std::min(old_parts.size(), new_parts.size()); ++i) {
    if (old_parts[i] != new_parts[i])
      differences.push_back(fmt::format("{} instead of {}", new_parts[i], value_of(old_parts[i])));
  }
  return fmt::format("{} has changed: {}", name, fmt::join(differences, ", "));
}

}  // namespace

Result<std::string> fingerprint(const std::filesystem::path& folder, Files which) {
  return look_at(folder, which, Depth::kHashes);
}
Result<std::string> file_times(const std::filesystem::path& folder, Files which) {
  return look_at(folder, which, Depth::kTimes);
}

std::string file_times_in(const std::string& fingerprint) {
  std::string all;
  for (const auto& [name, what] : files_of(fingerprint))
    all += fmt::format("{}\t{}\n", name, what.substr(0, what.find(kHash)));
  return all;
}

std::string describe_difference(const std::string& expected, const std::string& found) {
  const auto before = files_of(expected), now = files_of(found);
  for (const auto& [name, what] : before) {
    const auto same = now.find(name);
    if (same == now.end()) return fmt::format("{} is gone ({})", name, what);
    if (same->second != what) return compare(name, what, same->second);
  }
  for (const auto& [name, what] : now) {
    if (!before.contains(name)) return fmt::format("{} is new ({})", name, what);
  }
  return "";
}

std::vector<std::string> files_in(const std::string& fingerprint) {
  std::vector<std::string> names;
  for (const auto& [name, what] : files_of(fingerprint)) names.push_back(name);
  return names;
}

}  // namespace concertina::checkpoint
