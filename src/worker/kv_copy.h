#pragma once

#include <memory>
#include <vector>

#include "kvcache/sequence_copy.h"
#include "worker/inbox.h"
#include "worker/kv_memory.h"

namespace concertina::worker {

// KV of one request that is to come from a peer.
struct KvCopyJob {
  kvcache::ReservationId reservation;
  RequestId request;
  WeightsVersion weights;  // with which it must have been computed
  std::shared_ptr<const PeerKv> source;
  std::vector<BlockId> blocks;  // of this rank's own memory, for positions [0, n_tokens); nobody else's
  std::size_t n_tokens = 0;
  // kStandsStill: its stream waits for this copy, so that no bandwidth is spared. kGoesOn: it is decoded at
  // the source meanwhile.
  enum class Stream : std::uint8_t { kGoesOn, kStandsStill } stream = Stream::kGoesOn;
};

// One job, a block at a time, as kvcache::SequenceCopy goes through it. One thread.
class KvCopy {
 public:
  KvCopy(const KvMemory& own, KvCopyJob job);

  // The next block, with all of its layers. Bytes copied; 0: it is over, and so is the outcome.
  std::size_t advance();
  KvCopied outcome() const { return {job_.reservation, n_good_, 0}; }
  const KvCopyJob& job() const { return job_; }

 private:
  void copy_block(BlockId from, BlockId to) const;

  const KvMemory& own_;
  const KvCopyJob job_;
  kvcache::SequenceCopy copy_;
  std::size_t n_good_ = 0;  // tokens, once it is over
};

}  // namespace concertina::worker
