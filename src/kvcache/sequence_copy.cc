#include "kvcache/sequence_copy.h"

#include <algorithm>

namespace concertina::kvcache {

void SequenceCopy::begin(const RecordsView& source) {
  record_ = source.find(wanted_.request);
  if (!record_ || record_->weights != wanted_.weights) record_.emplace();
  record_->n_tokens = std::min(record_->n_tokens, wanted_.n_tokens);
}

std::optional<SequenceCopy::Block> SequenceCopy::next() const {
  const bool is_over =
      n_copied_ == record_->blocks.size() || n_copied_ * wanted_.block_size >= record_->n_tokens;
  return is_over ? std::nullopt : std::optional(Block{record_->blocks[n_copied_].block, n_copied_});
}

std::size_t SequenceCopy::n_good(const RecordsView& source) const {
  const auto stamp_after = [&source](BlockId block) { return source.stamp_after(block); };
  return n_good_tokens(*record_, stamp_after, wanted_.block_size, wanted_.n_tokens, broken_);
}

}  // namespace concertina::kvcache
