#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>

#include "base/ids.h"
#include "base/result.h"
#include "transport/error.h"
#include "transport/shm/address.h"
#include "transport/shm/doorbell.h"
#include "transport/shm/mapping.h"

namespace concertina::transport {

// What a region is for. One for exchanges has a doorbell.
enum class RegionUse : std::uint32_t { kExchange = 0, kKv = 1 };
const char* name_of(RegionUse use);  // "exchange memory", "KV memory"

// Whose memory a region is and how it is laid out; a peer that maps it must name the same.
struct RegionIdentity {
  RankId rank;
  Incarnation incarnation;
  std::array<std::uint64_t, 4> layout{};  // numbers that fix the body's layout; their meaning is the user's
  RegionUse use = RegionUse::kExchange;
  bool operator==(const RegionIdentity&) const = default;
};

// Memory that one process writes for life: a sealed memfd without a name, found by peers as /proc/PID/fd/FD.
// The kernel refuses any other writable mapping. Pages appear when touched. A peer's mapping outlives the
// process, also one that was killed. The doorbell lives in a second memfd, the only thing that peers map
// writable.
class Region {
 public:
  static Result<Region> create(const RegionIdentity& identity, std::size_t body_bytes);

  int fd() const { return fd_.get(); }
  cluster::LinkAddress address() const;  // of this process: tell peers
  std::span<std::byte> body() const;     // page-aligned, zeroed
  Doorbell doorbell() const;             // this rank's own; of a region for exchanges
  void prefault(std::size_t offset,
                std::size_t n_bytes) const;  // makes pages of the body appear now; best effort
  // Pages keep their content and stay in memory, but cost the end of this process nothing until they are
  // touched again.
  void unmap_pages(std::size_t offset, std::size_t n_bytes) const;

 private:
  Region() = default;
  FileDescriptor fd_, doorbell_fd_;
  Mapping memory_, doorbell_memory_;
};

// Another process's region: the body read-only, the doorbell to ring. Any thread may open; then immutable.
class PeerRegion {
 public:
  // Fails with kWrongRegion, naming what differs, unless the region there has this identity and size.
  static Result<PeerRegion> open(const MemoryPlace& place, const RegionIdentity& expected,
                                 std::size_t body_bytes);

  std::span<const std::byte> body() const;
  Doorbell doorbell() const;  // only ring() is for peers; of a region for exchanges
  void prefault(std::size_t offset,
                std::size_t n_bytes) const;  // maps pages that the owner has touched; best effort

 private:
  PeerRegion() = default;
  Mapping memory_, doorbell_memory_;
};

}  // namespace concertina::transport
