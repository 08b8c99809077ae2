#pragma once

#include <memory>
#include <span>

#include "exchange/link.h"
#include "kvcache/sequence_records.h"
#include "model/kv_layout.h"
#include "transport/shm/region.h"

namespace concertina::worker {

// What fixes the bytes of a rank's KV memory: the records of its sequences (src/kvcache), then a pool of
// blocks a layer. Ranks that read each other's have the same.
struct KvMemoryLayout {
  model::KvLayout blocks;
  kvcache::RecordsLayout records;

  std::size_t pools_offset() const;  // on a page boundary
  std::size_t body_bytes() const { return pools_offset() + blocks.n_bytes(); }
  // Of that member's region. Its numbers: n_blocks, block_size, bytes of a block, and a hash of what a block
  // is made of: each layer's bytes, the records', the digest of the kernels that computed it.
  transport::RegionIdentity identity(const cluster::Member& member) const;
};

// This rank's KV memory, which it alone writes, for life. Its peers map it, and read on when it was killed.
class KvMemory {
 public:
  static Result<KvMemory> create(const cluster::Member& self, const KvMemoryLayout& layout);

  const KvMemoryLayout& layout() const { return layout_; }
  cluster::LinkAddress address() const { return region_.address(); }
  std::span<std::byte> records() const { return region_.body().first(layout_.records.bytes()); }
  std::span<std::byte> pools() const { return region_.body().subspan(layout_.pools_offset()); }
  // Makes the pages of these blocks appear now, in every layer. Any thread; a page that is there stays as it
  // is.
  void populate(BlockId first, std::size_t n_blocks) const;
  // Likewise, but only the first blocks, so many bytes of them, stay mapped: what is mapped is unmapped when
  // this process is killed, before its channel closes and anybody hears of it (1 GiB: 65 ms; a stream's gap
  // was 86 ms with all of it mapped, 22 ms with 32 MiB). Others are mapped again when they are used, which
  // costs half of what their first touch does.
  void allocate(BlockId first, std::size_t n_blocks) const;
  bool stays_mapped(BlockId block) const { return block.value() < n_mapped_blocks_; }
  static constexpr std::size_t kMappedBytes = std::size_t{256} << 20;

 private:
  KvMemory(KvMemoryLayout layout, transport::Region region)
      : layout_(std::move(layout)),
        region_(std::move(region)),
        n_mapped_blocks_(kMappedBytes / layout_.blocks.block_bytes()) {}
  KvMemoryLayout layout_;
  transport::Region region_;
  std::size_t n_mapped_blocks_;
};

// Another rank's, read-only, whether it lives or has ended since. Immutable; any thread.
class PeerKv {
 public:
  // A TransportError that says what differs, or whom it could not reach.
  static Result<std::shared_ptr<const PeerKv>> open(const exchange::MemberAddress& peer,
                                                    const KvMemoryLayout& layout);

  const cluster::Member& member() const { return member_; }
  const kvcache::RecordsView& records() const { return records_; }
  std::span<const std::byte> pools() const { return pools_; }

 private:
  PeerKv(const cluster::Member& member, transport::PeerRegion region, const KvMemoryLayout& layout);
  const cluster::Member member_;
  const transport::PeerRegion region_;
  const kvcache::RecordsView records_;
  const std::span<const std::byte> pools_;
};

}  // namespace concertina::worker
