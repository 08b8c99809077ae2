#include "worker/kv_memory.h"

#include <fmt/format.h>

#include <algorithm>

#include "kernels/digest.h"
#include "transport/error.h"

namespace concertina::worker {

namespace {

constexpr std::size_t kPageBytes = 4096;

// FNV-1a. It tells builds and shapes apart, and guards against nobody.
class Hash {
 public:
  void add(std::string_view bytes) {
    for (const char byte : bytes) value_ = (value_ ^ static_cast<unsigned char>(byte)) * 0x100000001b3;
  }
  void add(std::size_t number) { add({reinterpret_cast<const char*>(&number), sizeof(number)}); }
  std::uint64_t value() const { return value_; }

 private:
  std::uint64_t value_ = 0xcbf29ce484222325;
};

}  // namespace

std::size_t KvMemoryLayout::pools_offset() const {
  return (records.bytes() + kPageBytes - 1) / kPageBytes * kPageBytes;
}

transport::RegionIdentity KvMemoryLayout::identity(const cluster::Member& member) const {
  Hash shape;
  for (const model::KvLayout::Pool& pool : blocks.pools) shape.add(pool.block_bytes);
  shape.add(records.n_slots), shape.add(records.max_sequence_blocks);
  shape.add(kernels::digest());
  return {.rank = member.rank,
          .incarnation = member.incarnation,
          .layout = {blocks.n_blocks, blocks.block_size, blocks.block_bytes(), shape.value()},
          .use = transport::RegionUse::kKv};
}

// No huge pages: those of all layers were first written in the same step, one of 25, which then took 60 ms
// longer (model M beside a prompt), they made nothing faster (docs/performance.md), and of shared memory the
// kernel gives none unless it is told to (shmem_enabled is never).
Result<KvMemory> KvMemory::create(const cluster::Member& self, const KvMemoryLayout& layout) {
  ASSIGN_OR_RETURN(transport::Region region,
                   transport::Region::create(layout.identity(self), layout.body_bytes()));
  return KvMemory(layout, std::move(region));
}

void KvMemory::populate(BlockId first, std::size_t n_blocks) const {
  for (std::size_t layer = 0; layer < layout_.blocks.pools.size(); ++layer)
    region_.prefault(layout_.pools_offset() + layout_.blocks.piece(layer, first),
                     n_blocks * layout_.blocks.pools[layer].block_bytes);
}

void KvMemory::allocate(BlockId first, std::size_t n_blocks) const {
  populate(first, n_blocks);
  const std::size_t begin = std::max<std::size_t>(first.value(), n_mapped_blocks_);
  const std::size_t end = first.value() + n_blocks;
  if (begin >= end) return;
  const BlockId block(static_cast<std::uint32_t>(begin));
  for (std::size_t layer = 0; layer < layout_.blocks.pools.size(); ++layer)
    region_.unmap_pages(layout_.pools_offset() + layout_.blocks.piece(layer, block),
                        (end - begin) * layout_.blocks.pools[layer].block_bytes);
}

Result<std::shared_ptr<const PeerKv>> PeerKv::open(const exchange::MemberAddress& peer,
                                                   const KvMemoryLayout& layout) {
  const auto place = transport::place_of(peer.address);
  if (!place)
    return fail(transport::TransportError::kPeerUnreachable,
                fmt::format("rank {} says no address of its KV memory that is known here: {} bytes of link "
                            "kind {}",
                            peer.member.rank, peer.address.bytes.size(),
                            static_cast<std::uint32_t>(peer.address.kind)));
  ASSIGN_OR_RETURN(transport::PeerRegion region,
                   transport::PeerRegion::open(*place, layout.identity(peer.member), layout.body_bytes()));
  return std::shared_ptr<const PeerKv>(new PeerKv(peer.member, std::move(region), layout));
}

PeerKv::PeerKv(const cluster::Member& member, transport::PeerRegion region, const KvMemoryLayout& layout)
    : member_(member),
      region_(std::move(region)),
      records_(layout.records, region_.body()),
      pools_(region_.body().subspan(layout.pools_offset())) {}

}  // namespace concertina::worker
