#pragma once

#include <algorithm>
#include <atomic>
#include <memory>
#include <span>
#include <vector>

#include "base/function_ref.h"
#include "base/ids.h"
#include "kvcache/broken_copy_rule.h"
#include "kvcache/holder.h"

namespace concertina::kvcache {

using Generation = Id<struct GenerationTag, std::uint64_t>;  // of a block's content; 0: never taken
using Stamp = std::atomic<std::uint64_t>;                    // a generation, where others can read it
static_assert(Stamp::is_always_lock_free && sizeof(Stamp) == 8);

// The numbers of one rank's KV blocks: who holds which, and of which generation each is. Never memory. A
// block is free while nobody holds it; the one that became free last is taken first.
//
// A block's generation says which content it is for. It rises when the block is taken out of the free ones,
// before anybody writes to it, and at no other time; it never falls, whatever becomes of the step for which
// the block was taken. So (block, generation) names one content for good: who reads a block elsewhere and
// finds the generation that it was told, after it has read, has read that content (rule 21). Sharing keeps
// the generation: only positions that are written and will not be written again may be shared.
//
// Generations are kept as stamps in memory that its owner gives it, so that ranks that map this memory read
// them: take() stores a block's stamp before anybody can write to the block (rule 22).
//
// All memory is taken at the start: room for one holder of each block, and for `max_shares` holders beyond
// the first of all blocks together. One owner thread.
class BlockPool {
 public:
  // `stamps`: [n_blocks], all 0, outlives it; empty: its own.
  explicit BlockPool(std::size_t n_blocks, std::size_t max_shares = 0, std::span<Stamp> stamps = {},
                     BrokenCopyRule broken = BrokenCopyRule::kNone);

  std::size_t n_total() const { return n_holders_.size(); }
  std::size_t n_free() const { return free_.size(); }
  std::size_t n_used() const { return n_total() - n_free(); }

  // Appends n free blocks to `table`, held by `holder` alone, each of a new generation. False, and nothing
  // taken, if fewer are free.
  bool take(const Holder& holder, std::size_t n, std::vector<BlockId>& table);
  // Lets `holder` hold `blocks`, which others hold and it does not, and appends them to `table`. False, and
  // nothing shared, if that made more than max_shares.
  bool share(const Holder& holder, std::span<const BlockId> blocks, std::vector<BlockId>& table);
  // `holder` lets go of all of `table`, which is empty then. A block that it does not hold is a broken
  // invariant.
  void give_back(const Holder& holder, std::vector<BlockId>& table);

  // What `from` holds of `blocks`, all of them, `to` holds instead; of the same generation.
  void hand_over(const Holder& from, const Holder& to, std::span<const BlockId> blocks);

  std::size_t n_holders(BlockId block) const { return n_holders_[block.value()]; }  // 0: free
  bool is_held_by(BlockId block, const Holder& holder) const;
  void for_each_holder(BlockId block, FunctionRef<void(const Holder&)> what) const;  // in no order
  Generation generation(BlockId block) const {
    const Generation stamp(stamps_[block.value()].load(std::memory_order_relaxed));
    return late_.empty() || std::find(late_.begin(), late_.end(), block) == late_.end() ? stamp
                                                                                        : stamp.next();
  }

 private:
  static constexpr std::uint32_t kNone = ~std::uint32_t{0};

  // One holder of one block, and the place of the next one. The first of block i is at place i.
  struct Holding {
    Holder holder;
    std::uint32_t next = kNone;
  };

  void raise_stamp(BlockId block);
  void add_holder(BlockId block, const Holder& holder);
  void remove_holder(BlockId block, const Holder& holder);
  std::uint32_t find(BlockId block, const Holder& holder) const;  // kNone: it does not hold it

  const BrokenCopyRule broken_;
  std::unique_ptr<Stamp[]> own_stamps_;   // if it was given none
  std::span<Stamp> stamps_;               // [n_blocks]
  std::vector<std::uint32_t> n_holders_;  // [n_blocks]
  std::vector<BlockId> free_;             // a stack
  std::vector<Holding> holdings_;         // [n_blocks + max_shares]
  std::vector<std::uint32_t> unused_;     // places of holdings_ beyond the first of each block
  std::vector<BlockId> late_;             // kStampLate: whose stamps are not those of their generation yet
};

// Blocks that n_tokens positions need.
inline std::size_t blocks_for(std::size_t n_tokens, std::size_t block_size) {
  return (n_tokens + block_size - 1) / block_size;
}

}  // namespace concertina::kvcache
