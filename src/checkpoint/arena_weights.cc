#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "checkpoint/error.h"
#include "checkpoint/weight_arena.h"

namespace concertina::checkpoint {

namespace {

constexpr std::uintptr_t kHugePageBytes = 2 << 20;

// A read-only mapping of the whole file, at an address where huge pages fit if the system gives them to such
// files.
class Mapped {
 public:
  static std::shared_ptr<const Mapped> of(int fd, std::uint64_t n_bytes) {
    std::shared_ptr<Mapped> mapped(new Mapped);
    const std::uint64_t n_reserved = n_bytes + kHugePageBytes;
    void* const room =
        ::mmap(nullptr, n_reserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (room == MAP_FAILED) return nullptr;
    mapped->room_ = {static_cast<std::byte*>(room), n_reserved};
    const auto address =
        (reinterpret_cast<std::uintptr_t>(room) + kHugePageBytes - 1) / kHugePageBytes * kHugePageBytes;
    void* const data =
        ::mmap(reinterpret_cast<void*>(address), n_bytes, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0);
    if (data == MAP_FAILED) return nullptr;
    mapped->bytes_ = {static_cast<const std::byte*>(data), n_bytes};
    return mapped;
  }
  ~Mapped() {
    if (!room_.empty()) ::munmap(room_.data(), room_.size());
  }
  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  Mapped() = default;
  std::span<std::byte> room_;
  std::span<const std::byte> bytes_;
};

Result<std::shared_ptr<const Mapped>> map_sealed(const std::string& path) {
  const auto failed = [&](const char* what) {
    return fail(CheckpointError::kUnreadable,
                fmt::format("the weights at {}: {}: {}", path, what, strerror(errno)));
  };
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return failed("cannot open");
  struct stat status {};
  const int seals = ::fcntl(fd, F_GET_SEALS);
  const bool is_sealed = seals >= 0 && (seals & F_SEAL_WRITE) != 0 && (seals & F_SEAL_SHRINK) != 0;
  if (!is_sealed || ::fstat(fd, &status) != 0) {
    ::close(fd);
    return fail(CheckpointError::kUnreadable, fmt::format("{}: is not sealed memory of weights", path));
  }
  const auto mapped = Mapped::of(fd, static_cast<std::uint64_t>(status.st_size));
  ::close(fd);
  if (mapped == nullptr) return failed("cannot map");
  return mapped;
}

}  // namespace

Result<std::unique_ptr<ArenaWeights>> ArenaWeights::open(const std::string& path) {
  ASSIGN_OR_RETURN(const std::shared_ptr<const Mapped> memory, map_sealed(path));
  ASSIGN_OR_RETURN(const std::vector<ArenaEntry> entries,
                   parse_arena(memory->bytes(), memory->bytes().size()));
  auto weights = std::make_unique<ArenaWeights>();
  const std::byte* const begin = memory->bytes().data();
  for (const ArenaEntry& entry : entries) {
    tensor::Weight weight{
        .dtype = entry.dtype, .shape = entry.shape, .data = begin + entry.data, .owner = memory};
    const bool is_int8 = entry.dtype == tensor::DType::kI8;
    if (is_int8) {
      weight.scales = reinterpret_cast<const float*>(begin + entry.scales);
      weight.sums = reinterpret_cast<const std::int32_t*>(begin + entry.sums);
    }
    (is_int8 ? weights->int8_ : weights->wide_).emplace(entry.name, std::move(weight));
  }
  return weights;
}

Result<tensor::Weight> ArenaWeights::load(const std::string& name, const tensor::Shape& shape) const {
  const auto found = wide_.find(name);
  if (found == wide_.end())
    return fail(CheckpointError::kNotFound, fmt::format("memory of weights: tensor {} is missing", name));
  if (found->second.shape != shape) {
    return fail(CheckpointError::kWrongShape,
                fmt::format("memory of weights: tensor {} has shape {}, expected {}", name,
                            tensor::to_string(found->second.shape), tensor::to_string(shape)));
  }
  return found->second;
}

Result<tensor::DType> ArenaWeights::verify(const std::string& name, const tensor::Shape& shape) const {
  ASSIGN_OR_RETURN(const tensor::Weight weight, load(name, shape));
  return weight.dtype;
}

std::optional<tensor::Weight> ArenaWeights::quantized(const std::string& name) const {
  const auto found = int8_.find(name);
  return found == int8_.end() ? std::nullopt : std::optional(found->second);
}

}  // namespace concertina::checkpoint
