#include "transport/shm/region.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <new>

#include "base/check.h"

namespace concertina::transport {
namespace {

constexpr std::size_t kPageBytes = 4096;
constexpr std::uint64_t kMagic = 0x6e69747265636e6f;  // "oncertin" in memory
constexpr std::uint32_t kVersion = 3;

// First page of the memory; docs/wire_format.md.
struct RegionHeader {
  std::uint64_t magic;
  std::uint32_t version;
  std::uint32_t rank;
  std::uint64_t incarnation;
  std::uint64_t body_bytes;
  std::array<std::uint64_t, 4> layout;
  std::int32_t doorbell_fd;
  RegionUse use;
};
static_assert(sizeof(RegionHeader) <= kPageBytes);

std::string owner_of(const RegionIdentity& identity) {
  return fmt::format("rank {} (incarnation {})", identity.rank, identity.incarnation);
}

std::string describe(const RegionIdentity& identity) {
  return fmt::format("the {} of {}", name_of(identity.use), owner_of(identity));
}

Result<FileDescriptor> make_memory_file(const std::string& name, std::size_t n_bytes) {
  FileDescriptor fd(::memfd_create("concertina", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (fd.get() < 0) return fail(system_error("memfd_create of " + name));
  if (::ftruncate(fd.get(), static_cast<off_t>(n_bytes)) != 0)
    return fail(system_error(fmt::format("ftruncate of {} to {} bytes", name, n_bytes)));
  if (::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) != 0)
    return fail(system_error("sealing the size of " + name));
  return fd;
}

Result<FileDescriptor> open_of_process(const MemoryPlace& place, int flags, const std::string& name) {
  const std::string path = fmt::format("/proc/{}/fd/{}", place.pid, place.fd);
  FileDescriptor file(::open(path.c_str(), flags | O_CLOEXEC));
  if (file.get() >= 0) return file;
  const int error = errno;  // a process that is ending belongs to root for a moment: EACCES
  const bool is_peer = error == ENOENT || error == ESRCH || error == EACCES || error == EPERM;
  const std::string what = fmt::format("opening {} at {}", name, path);
  if (!is_peer) return fail(system_error(what));
  return fail(TransportError::kPeerUnreachable, fmt::format("{}: {}", what, strerror(error)));
}

// A file that its owner could shrink would kill the reader with SIGBUS.
Status check_size(int fd, std::size_t n_bytes, const std::string& name) {
  struct stat status {};
  if (::fstat(fd, &status) != 0) return fail(system_error("fstat of " + name));
  const int seals = ::fcntl(fd, F_GET_SEALS);
  if (seals < 0 || (seals & F_SEAL_SHRINK) == 0)
    return fail(TransportError::kWrongRegion, name + " is not memory of a sealed size");
  if (static_cast<std::size_t>(status.st_size) != n_bytes)
    return fail(TransportError::kWrongRegion,
                fmt::format("{} has {} bytes, expected {}", name, status.st_size, n_bytes));
  return {};
}

Status check_header(const RegionHeader& header, const RegionIdentity& expected, std::size_t body_bytes,
                    const std::string& name) {
  const auto wrong = [&](const char* field, const auto& found, const auto& wanted) {
    return fail(TransportError::kWrongRegion,
                fmt::format("{}: {} is {}, expected {}", name, field, found, wanted));
  };
  if (header.magic != kMagic) return wrong("magic", header.magic, kMagic);
  if (header.version != kVersion) return wrong("version", header.version, kVersion);
  if (header.use != expected.use)
    return wrong("use", static_cast<std::uint32_t>(header.use), static_cast<std::uint32_t>(expected.use));
  if (header.rank != expected.rank.value()) return wrong("rank", header.rank, expected.rank);
  if (header.incarnation != expected.incarnation.value())
    return wrong("incarnation", header.incarnation, expected.incarnation);
  if (header.layout != expected.layout) return wrong("layout", header.layout, expected.layout);
  if (header.body_bytes != body_bytes) return wrong("body_bytes", header.body_bytes, body_bytes);
  return {};
}

void advise(const Mapping& memory, std::size_t offset, std::size_t n_bytes, int advice) {
  const std::size_t begin = (kPageBytes + offset) / kPageBytes * kPageBytes;
  const std::size_t end = kPageBytes + offset + n_bytes;
  CHECK(end <= memory.size(), "prefault of [{}, {}) in {} bytes", begin, end, memory.size());
  if (n_bytes > 0)
    ::madvise(memory.data() + begin, end - begin, advice);  // old kernels refuse: pages appear later
}

DoorbellWords& words_in(const Mapping& memory) { return *reinterpret_cast<DoorbellWords*>(memory.data()); }

}  // namespace

const char* name_of(RegionUse use) { return use == RegionUse::kExchange ? "exchange memory" : "KV memory"; }

Result<Region> Region::create(const RegionIdentity& identity, std::size_t body_bytes) {
  const std::string name = describe(identity);
  Region region;
  ASSIGN_OR_RETURN(region.fd_, make_memory_file(name, kPageBytes + body_bytes));
  ASSIGN_OR_RETURN(region.memory_,
                   Mapping::of_file(region.fd_.get(), kPageBytes + body_bytes, Access::kReadWrite, name));
  // One writer for life: from here on the kernel refuses any writable mapping. Kernels before 5.1 lack this
  // seal.
  (void)::fcntl(region.fd_.get(), F_ADD_SEALS, F_SEAL_FUTURE_WRITE);
  if (identity.use == RegionUse::kExchange) {
    ASSIGN_OR_RETURN(region.doorbell_fd_, make_memory_file(name + " (doorbell)", kPageBytes));
    ASSIGN_OR_RETURN(region.doorbell_memory_,
                     Mapping::of_file(region.doorbell_fd_.get(), kPageBytes, Access::kReadWrite, name));
    new (region.doorbell_memory_.data()) DoorbellWords{};
  }
  *reinterpret_cast<RegionHeader*>(region.memory_.data()) = {.magic = kMagic,
                                                             .version = kVersion,
                                                             .rank = identity.rank.value(),
                                                             .incarnation = identity.incarnation.value(),
                                                             .body_bytes = body_bytes,
                                                             .layout = identity.layout,
                                                             .doorbell_fd = region.doorbell_fd_.get(),
                                                             .use = identity.use};
  return region;
}

cluster::LinkAddress Region::address() const { return address_of({::getpid(), fd_.get()}); }

std::span<std::byte> Region::body() const {
  return {memory_.data() + kPageBytes, memory_.size() - kPageBytes};
}
Doorbell Region::doorbell() const { return Doorbell(words_in(doorbell_memory_)); }
void Region::prefault(std::size_t offset, std::size_t n_bytes) const {
  advise(memory_, offset, n_bytes, MADV_POPULATE_WRITE);
}

void Region::unmap_pages(std::size_t offset, std::size_t n_bytes) const {
  advise(memory_, offset, n_bytes, MADV_DONTNEED);  // of a shared file: its pages are not touched
}

Result<PeerRegion> PeerRegion::open(const MemoryPlace& place, const RegionIdentity& expected,
                                    std::size_t body_bytes) {
  const std::string name =
      fmt::format("{} in process {}, descriptor {}", describe(expected), place.pid, place.fd);
  ASSIGN_OR_RETURN(const FileDescriptor file, open_of_process(place, O_RDONLY, name));
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) return fail(system_error("fstat of " + name));
  if (!S_ISREG(status.st_mode) || static_cast<std::size_t>(status.st_size) < kPageBytes)
    return fail(TransportError::kWrongRegion, name + " has no header");
  RegionHeader header;  // read, not mapped: this cannot fault whatever the file is
  if (::pread(file.get(), &header, sizeof(header), 0) != static_cast<ssize_t>(sizeof(header)))
    return fail(system_error("reading the header of " + name));
  RETURN_IF_ERROR(check_header(header, expected, body_bytes, name));
  RETURN_IF_ERROR(check_size(file.get(), kPageBytes + body_bytes, name));

  PeerRegion region;
  ASSIGN_OR_RETURN(region.memory_,
                   Mapping::of_file(file.get(), kPageBytes + body_bytes, Access::kReadOnly, name));
  if (expected.use != RegionUse::kExchange) return region;
  const std::string doorbell = "the doorbell of " + owner_of(expected);
  ASSIGN_OR_RETURN(const FileDescriptor doorbell_file,
                   open_of_process({place.pid, header.doorbell_fd}, O_RDWR, doorbell));
  RETURN_IF_ERROR(check_size(doorbell_file.get(), kPageBytes, doorbell));
  ASSIGN_OR_RETURN(region.doorbell_memory_,
                   Mapping::of_file(doorbell_file.get(), kPageBytes, Access::kReadWrite, doorbell));
  return region;
}

std::span<const std::byte> PeerRegion::body() const {
  return {memory_.data() + kPageBytes, memory_.size() - kPageBytes};
}
Doorbell PeerRegion::doorbell() const { return Doorbell(words_in(doorbell_memory_)); }
void PeerRegion::prefault(std::size_t offset, std::size_t n_bytes) const {
  advise(memory_, offset, n_bytes, MADV_POPULATE_READ);
}

}  // namespace concertina::transport
