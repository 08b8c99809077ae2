#include "kvcache/block_pool.h"

#include <fmt/format.h>

#include <utility>

#include "base/check.h"

namespace concertina::kvcache {

std::string describe(const Holder& holder) {
  if (const auto* reservation = std::get_if<ReservationId>(&holder))
    return fmt::format("reservation {}", *reservation);
  return fmt::format("request {}", std::get<RequestId>(holder));
}

BlockPool::BlockPool(std::size_t n_blocks, std::size_t max_shares, std::span<Stamp> stamps,
                     BrokenCopyRule broken)
    : broken_(broken),
      own_stamps_(stamps.empty() ? new Stamp[n_blocks]() : nullptr),
      stamps_(stamps.empty() ? std::span(own_stamps_.get(), n_blocks) : stamps),
      n_holders_(n_blocks),
      holdings_(n_blocks + max_shares) {
  CHECK(stamps_.size() == n_blocks, "{} stamps of {} blocks", stamps_.size(), n_blocks);
  free_.reserve(n_blocks);
  for (std::size_t i = n_blocks; i > 0; --i) free_.emplace_back(static_cast<std::uint32_t>(i - 1));
  unused_.reserve(max_shares);
  for (std::size_t i = 0; i < max_shares; ++i) unused_.push_back(static_cast<std::uint32_t>(n_blocks + i));
}

bool BlockPool::take(const Holder& holder, std::size_t n, std::vector<BlockId>& table) {
  if (n > free_.size()) return false;
  for (const BlockId block : std::exchange(late_, {})) raise_stamp(block);
  for (std::size_t i = 0; i < n; ++i) {
    const BlockId block = free_.back();
    free_.pop_back();
    if (broken_ == BrokenCopyRule::kStampLate)
      late_.push_back(block);
    else
      raise_stamp(block);
    add_holder(block, holder);
    table.push_back(block);
  }
  // Whoever reads what is written to these blocks from here on, and then fences, reads the new stamps. Not a
  // release fence, which is no instruction on x86: stores past the caches might come before the stamps.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return true;
}

void BlockPool::raise_stamp(BlockId block) {
  stamps_[block.value()].store(generation(block).next().value(), std::memory_order_relaxed);
}

void BlockPool::hand_over(const Holder& from, const Holder& to, std::span<const BlockId> blocks) {
  for (const BlockId block : blocks) {
    const std::uint32_t place = block.value() < n_total() ? find(block, from) : kNone;
    CHECK(place != kNone, "block {} is not held by {}", block, describe(from));
    CHECK(!is_held_by(block, to), "block {} is held by {} already", block, describe(to));
    holdings_[place].holder = to;
  }
}

bool BlockPool::share(const Holder& holder, std::span<const BlockId> blocks, std::vector<BlockId>& table) {
  if (blocks.size() > unused_.size()) return false;
  for (const BlockId block : blocks) {
    CHECK(block.value() < n_total() && n_holders(block) > 0, "block {} is free: {} cannot share it", block,
          describe(holder));
    CHECK(!is_held_by(block, holder), "block {} is held by {} already", block, describe(holder));
    add_holder(block, holder);
    table.push_back(block);
  }
  return true;
}

void BlockPool::give_back(const Holder& holder, std::vector<BlockId>& table) {
  for (std::size_t i = table.size(); i > 0; --i) {
    remove_holder(table[i - 1], holder);
    if (n_holders(table[i - 1]) == 0) free_.push_back(table[i - 1]);
  }
  table.clear();
}

bool BlockPool::is_held_by(BlockId block, const Holder& holder) const { return find(block, holder) != kNone; }

void BlockPool::for_each_holder(BlockId block, FunctionRef<void(const Holder&)> what) const {
  std::uint32_t at = block.value();
  for (std::uint32_t i = 0; i < n_holders(block); ++i, at = holdings_[at].next) what(holdings_[at].holder);
}

// A further one comes second: the first one's place is the block's own.
void BlockPool::add_holder(BlockId block, const Holder& holder) {
  Holding& first = holdings_[block.value()];
  if (n_holders_[block.value()]++ == 0) {
    first = {holder, kNone};
    return;
  }
  const std::uint32_t place = unused_.back();
  unused_.pop_back();
  holdings_[place] = {holder, first.next};
  first.next = place;
}

// The second moves to the place of the one that goes: the order says nothing.
void BlockPool::remove_holder(BlockId block, const Holder& holder) {
  const std::uint32_t place = block.value() < n_total() ? find(block, holder) : kNone;
  CHECK(place != kNone, "block {} is not held by {}", block, describe(holder));
  if (--n_holders_[block.value()] == 0) return;
  Holding& first = holdings_[block.value()];
  const std::uint32_t second = first.next;
  holdings_[place].holder = holdings_[second].holder;
  first.next = holdings_[second].next;
  unused_.push_back(second);
}

std::uint32_t BlockPool::find(BlockId block, const Holder& holder) const {
  std::uint32_t at = block.value();
  for (std::uint32_t i = 0; i < n_holders(block); ++i, at = holdings_[at].next)
    if (holdings_[at].holder == holder) return at;
  return kNone;
}

}  // namespace concertina::kvcache
