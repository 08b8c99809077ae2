#include "worker/kv_copy.h"

#include <algorithm>

namespace concertina::worker {

namespace {

// Words that others see as float or byte.
using Word [[gnu::may_alias]] = std::uint64_t;

// The source's owner may be writing into the very block: positions beyond the committed length that its
// record had. Those words do not count, whatever is read of them, and those that count are not written while
// the block has its generation. So this race, between two processes, is meant, and it is the only one: a word
// is loaded once, whole and relaxed, as the data of a seqlock is. It costs as much as memcpy (both wait for
// memory).
void copy_words(std::byte* to, const std::byte* from, std::size_t n_bytes) {
  auto* const target = reinterpret_cast<Word*>(to);
  const auto* const source = reinterpret_cast<const Word*>(from);
  for (std::size_t i = 0; i < n_bytes / sizeof(Word); ++i)
    target[i] = __atomic_load_n(&source[i], __ATOMIC_RELAXED);
}

}  // namespace

std::size_t KvCopy::advance() {
  if (!record_) {
    record_ = job_.source->records().find(job_.request);
    if (!record_ || record_->weights != job_.weights) record_.emplace();  // of no tokens
    record_->n_tokens = std::min(record_->n_tokens, job_.n_tokens);
  }
  const std::size_t block_size = own_.layout().blocks.block_size;
  if (n_copied_ < kvcache::blocks_for(record_->n_tokens, block_size) && n_copied_ < record_->blocks.size()) {
    copy_block(record_->blocks[n_copied_].block, job_.blocks[n_copied_]);
    ++n_copied_;
    return own_.layout().blocks.block_bytes();
  }
  const auto stamp_after = [this](BlockId block) { return job_.source->records().stamp_after(block); };
  n_good_ = kvcache::n_good_tokens(*record_, stamp_after, block_size, job_.n_tokens);
  return 0;
}

void KvCopy::copy_block(BlockId from, BlockId to) const {
  const model::KvLayout& layout = own_.layout().blocks;
  if (!own_.stays_mapped(to)) own_.populate(to, 1);  // a fault for each of its pages costs three times that
  for (std::size_t layer = 0; layer < layout.pools.size(); ++layer)
    copy_words(&own_.pools()[layout.piece(layer, to)], &job_.source->pools()[layout.piece(layer, from)],
               layout.pools[layer].block_bytes);
}

}  // namespace concertina::worker
