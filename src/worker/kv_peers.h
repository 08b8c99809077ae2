#pragma once

#include <map>
#include <memory>
#include <mutex>

#include "worker/kv_memory.h"

namespace concertina::worker {

// The KV memory of other ranks, as far as it is mapped here. Any thread.
class KvPeers {
 public:
  explicit KvPeers(KvMemoryLayout layout) : layout_(std::move(layout)) {}  // this rank's, and all others'

  // Maps a rank's memory; a rank that is known is left as it is. Of one that cannot be mapped requests are
  // computed again when they come here: it is said, and no error.
  void add(const exchange::MemberAddress& peer);
  // Null: it is not mapped. What is held goes on being readable when it is forgotten here.
  std::shared_ptr<const PeerKv> find(const cluster::Member& member) const;
  void forget(const cluster::Member& member);  // may take milliseconds: pages are unmapped

 private:
  const KvMemoryLayout layout_;
  mutable std::mutex mutex_;
  std::map<cluster::Member, std::shared_ptr<const PeerKv>> peers_;  // guarded by mutex_
};

}  // namespace concertina::worker
