#include "tools/chaos/file_trouble.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "base/check.h"

namespace concertina::chaos {
namespace {

namespace fs = std::filesystem;

std::vector<fs::path> files_of(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.is_regular_file()) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());  // a seed gives the same choice again
  return files;
}

void set_times(const fs::path& file, const timespec* times) {
  CHECK(utimensat(AT_FDCWD, file.c_str(), times, 0) == 0, "cannot set the times of {}", file.string());
}

constexpr auto kOverwrite = fs::copy_options::overwrite_existing;

}  // namespace

FileTrouble::FileTrouble(const fs::path& folder, const fs::path& model, const fs::path& binary)
    : original_model_(fs::absolute(model)),
      original_binary_(fs::absolute(binary)),
      model_(folder / "model"),
      binary_(folder / binary.filename()),
      spare_(folder / "spare") {
  fs::copy(original_model_, model_, fs::copy_options::recursive);
  fs::copy_file(original_binary_, binary_);
}

void FileTrouble::trouble_model(Random random) {
  restore();
  Kind& kind = model_kinds_[next_model_++ % model_kinds_.size()];
  (this->*kind.act)(random);
  ++kind.n;
}

void FileTrouble::trouble_binary(Random random) {
  restore();
  Kind& kind = binary_kinds_[next_binary_++ % binary_kinds_.size()];
  (this->*kind.act)(random);
  ++kind.n;
}

void FileTrouble::restore() {
  if (const auto undo = std::exchange(undo_, nullptr)) undo();
}

std::string FileTrouble::summary() const {
  std::string out = "model files:", separator = " ";
  for (const Kind& kind : model_kinds_) {
    out += fmt::format("{}{} {}", separator, kind.n, kind.name);
    separator = ", ";
  }
  out += "; binary:";
  separator = " ";
  for (const Kind& kind : binary_kinds_) {
    out += fmt::format("{}{} {}", separator, kind.n, kind.name);
    separator = ", ";
  }
  return out;
}

// ---- the model

void FileTrouble::touch(Random& random) { set_times(some_file(random), nullptr); }

void FileTrouble::touch_config(Random&) { set_times(model_ / "config.json", nullptr); }

void FileTrouble::copy_over(Random&) { copy_originals_over(); }

void FileTrouble::overwrite_in_place(Random& random) {
  scribble(some_shard(random), random);
  undo_ = [this] { copy_originals_over(); };
}

void FileTrouble::truncate(Random& random) {
  const fs::path shard = some_shard(random);
  fs::resize_file(shard, random.below(fs::file_size(shard)));
  undo_ = [this] { copy_originals_over(); };
}

void FileTrouble::swap_with_kept_time(Random& random) {
  const fs::path shard = some_shard(random);
  struct stat old {};
  CHECK(stat(shard.c_str(), &old) == 0, "cannot stat {}", shard.string());
  fs::copy_file(shard, spare_, kOverwrite);
  scribble(spare_, random);
  const timespec times[2] = {old.st_atim, old.st_mtim};
  set_times(spare_, times);
  fs::rename(spare_, shard);
  undo_ = [this] { copy_originals_over(); };
}

void FileTrouble::move_folder_away(Random&) {
  fs::rename(model_, spare_);
  undo_ = [this] { fs::rename(spare_, model_); };
}

// ---- the binary

void FileTrouble::delete_binary(Random&) {
  fs::remove(binary_);
  undo_ = [this] { put_back_binary(); };
}

void FileTrouble::replace_binary(Random&) {
  fs::copy_file("/bin/false", spare_, kOverwrite);
  fs::rename(spare_, binary_);
  undo_ = [this] { put_back_binary(); };
}

void FileTrouble::move_binary_away(Random&) {
  fs::rename(binary_, spare_);
  undo_ = [this] { fs::rename(spare_, binary_); };
}

// By a rename: a file that runs cannot be written.
void FileTrouble::put_back_binary() {
  fs::copy_file(original_binary_, spare_, kOverwrite);
  fs::rename(spare_, binary_);
}

// ---- parts

fs::path FileTrouble::some_file(Random& random) const {
  const auto files = files_of(model_);
  return files[random.below(files.size())];
}

fs::path FileTrouble::some_shard(Random& random) const {
  auto shards = files_of(model_);
  std::erase_if(shards, [](const fs::path& file) { return file.extension() != ".safetensors"; });
  CHECK(!shards.empty(), "{} has no .safetensors", model_.string());
  return shards[random.below(shards.size())];
}

// As cp does: each file is truncated and written, its inode stays.
void FileTrouble::copy_originals_over() {
  for (const fs::path& file : files_of(original_model_))
    fs::copy_file(file, model_ / file.filename(), kOverwrite);
}

void FileTrouble::scribble(const fs::path& file, Random& random) const {
  const std::vector<char> bytes(1 << 20, static_cast<char>(random.below(256)));
  const int fd = open(file.c_str(), O_WRONLY | O_CLOEXEC);
  CHECK(fd >= 0, "cannot write {}", file.string());
  const auto at = static_cast<off_t>(random.below(fs::file_size(file) - bytes.size() / 2));
  CHECK(pwrite(fd, bytes.data(), bytes.size() / 2, at) > 0, "cannot write {}", file.string());
  close(fd);
}

}  // namespace concertina::chaos
