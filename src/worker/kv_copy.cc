#include "worker/kv_copy.h"

#include "base/check.h"

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

KvCopy::KvCopy(const KvMemory& own, KvCopyJob job)
    : own_(own),
      job_(std::move(job)),
      copy_({.request = job_.request,
             .weights = job_.weights,
             .n_tokens = job_.n_tokens,
             .block_size = own.layout().blocks.block_size}) {
  const std::size_t n_blocks = kvcache::blocks_for(job_.n_tokens, own_.layout().blocks.block_size);
  CHECK(job_.blocks.size() >= n_blocks, "{} blocks for {} tokens", job_.blocks.size(), job_.n_tokens);
  CHECK(job_.source->pools().size() == own_.pools().size(), "the KV memory of rank {} has another layout",
        job_.source->member().rank);
}

std::size_t KvCopy::advance() {
  if (!copy_.has_begun()) copy_.begin(job_.source->records());
  if (const auto block = copy_.next()) {
    copy_block(block->from, job_.blocks[block->place]);
    copy_.copied();
    return own_.layout().blocks.block_bytes();
  }
  n_good_ = copy_.n_good(job_.source->records());
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
