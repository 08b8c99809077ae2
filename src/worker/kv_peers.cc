#include "worker/kv_peers.h"

#include "base/log.h"

namespace concertina::worker {

void KvPeers::add(const exchange::MemberAddress& peer) {
  if (find(peer.member) != nullptr) return;
  auto opened = PeerKv::open(peer, layout_);
  if (!opened) {
    spdlog::warn("no KV can be copied from rank {}: {}", peer.member.rank, opened.error().message());
    return;
  }
  std::lock_guard lock(mutex_);
  peers_[peer.member] = std::move(*opened);
}

std::shared_ptr<const PeerKv> KvPeers::find(const cluster::Member& member) const {
  std::lock_guard lock(mutex_);
  const auto found = peers_.find(member);
  return found == peers_.end() ? nullptr : found->second;
}

void KvPeers::forget(const cluster::Member& member) {
  std::shared_ptr<const PeerKv> last;  // unmapped outside the lock
  std::lock_guard lock(mutex_);
  if (auto node = peers_.extract(member); !node.empty()) last = std::move(node.mapped());
}

}  // namespace concertina::worker
