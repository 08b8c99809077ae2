#include "kvcache/sequence_records.h"

#include <algorithm>

#include "base/check.h"

namespace concertina::kvcache {

namespace {

// Of a slot; the blocks follow, each with its generation.
enum Word : std::size_t { kVersion, kRequest, kWeights, kTokens, kBlocks, kFirst };
constexpr int kMaxTries = 1000;  // a record is written in some 100 ns; one that stays odd lost its writer

constexpr auto kRelaxed = std::memory_order_relaxed;

}  // namespace

std::size_t n_good_tokens(const SequenceRecord& record, FunctionRef<Generation(BlockId)> stamp_after,
                          std::size_t block_size, std::size_t n_wanted, BrokenCopyRule broken) {
  const std::size_t n_tokens = std::min(n_wanted, record.n_tokens);
  for (std::size_t i = 0; i * block_size < n_tokens; ++i) {
    if (i == record.blocks.size()) return i * block_size;
    const bool is_same = stamp_after(record.blocks[i].block) == record.blocks[i].generation;
    if (!is_same && broken != BrokenCopyRule::kNoStampCheck) return i * block_size;
  }
  return n_tokens;
}

SequenceRecords::SequenceRecords(const RecordsLayout& layout, std::span<std::byte> memory)
    : layout_(layout), own_(memory.empty() ? layout.bytes() / 8 : 0) {
  CHECK(memory.empty() || memory.size() >= layout.bytes(), "{} bytes for records that need {}", memory.size(),
        layout.bytes());
  words_ = memory.empty() ? std::span<Stamp>(own_)
                          : std::span<Stamp>(reinterpret_cast<Stamp*>(memory.data()), layout.bytes() / 8);
  free_.reserve(layout.n_slots);
  for (std::size_t i = layout.n_slots; i > 0; --i) free_.emplace_back(static_cast<std::uint32_t>(i - 1));
}

std::span<Stamp> SequenceRecords::stamps() const { return words_.first(layout_.n_blocks); }

std::span<Stamp> SequenceRecords::words(RecordSlot slot) const {
  return words_.subspan(layout_.n_blocks + slot.value() * layout_.slot_words(), layout_.slot_words());
}

namespace {

// Makes a slot's version odd for its life.
class Writing {
 public:
  explicit Writing(Stamp& version) : version_(version) {
    version_.store(version_.load(kRelaxed) + 1, kRelaxed);
    std::atomic_thread_fence(std::memory_order_release);
  }
  ~Writing() { version_.store(version_.load(kRelaxed) + 1, std::memory_order_release); }
  Writing(const Writing&) = delete;
  Writing& operator=(const Writing&) = delete;

 private:
  Stamp& version_;
};

}  // namespace

std::optional<RecordSlot> SequenceRecords::open(RequestId request) {
  if (free_.empty()) return std::nullopt;
  const RecordSlot slot = free_.back();
  free_.pop_back();
  const auto at = words(slot);
  const Writing writing(at[kVersion]);
  at[kRequest].store(request.value(), kRelaxed);
  at[kWeights].store(weights_.value(), kRelaxed);
  at[kTokens].store(0, kRelaxed);
  at[kBlocks].store(0, kRelaxed);
  return slot;
}

// Blocks that are added change nothing of those that are there: no round of the seqlock.
void SequenceRecords::append(RecordSlot slot, BlockId block, Generation generation) {
  const auto at = words(slot);
  const std::size_t n = at[kBlocks].load(kRelaxed);
  CHECK(n < layout_.max_sequence_blocks, "a sequence of more than {} blocks", layout_.max_sequence_blocks);
  at[kFirst + 2 * n].store(block.value(), kRelaxed);
  at[kFirst + 2 * n + 1].store(generation.value(), kRelaxed);
  at[kBlocks].store(n + 1, std::memory_order_release);
}

// Released: whoever reads the number reads the KV, and the blocks, that it speaks of.
void SequenceRecords::commit(RecordSlot slot, std::size_t n_tokens) {
  words(slot)[kTokens].store(n_tokens, std::memory_order_release);
}

void SequenceRecords::close(RecordSlot slot) {
  const auto at = words(slot);
  const Writing writing(at[kVersion]);
  at[kRequest].store(0, kRelaxed);
  at[kTokens].store(0, kRelaxed);
  at[kBlocks].store(0, kRelaxed);
  free_.push_back(slot);
}

RecordsView::RecordsView(const RecordsLayout& layout, std::span<const std::byte> memory,
                         BrokenCopyRule broken)
    : layout_(layout),
      broken_(broken),
      words_(reinterpret_cast<const Stamp*>(memory.data()), layout.bytes() / 8) {
  CHECK(memory.size() >= layout.bytes(), "{} bytes for records that need {}", memory.size(), layout.bytes());
}

std::optional<SequenceRecord> RecordsView::find(RequestId request) const {
  for (std::size_t slot = 0; slot < layout_.n_slots; ++slot) {
    const Stamp& found = words_[layout_.n_blocks + slot * layout_.slot_words() + kRequest];
    if (found.load(kRelaxed) != request.value()) continue;
    auto record = read(slot);
    if (record && record->request == request) return record;
  }
  return std::nullopt;
}

std::optional<SequenceRecord> RecordsView::read(std::size_t slot) const {
  const auto at = words_.subspan(layout_.n_blocks + slot * layout_.slot_words(), layout_.slot_words());
  for (int i = 0; i < kMaxTries; ++i) {
    const std::uint64_t version = at[kVersion].load(std::memory_order_acquire);
    if (version % 2 == 1 && broken_ != BrokenCopyRule::kOddRecord) continue;
    SequenceRecord record{.request = RequestId(at[kRequest].load(kRelaxed)),
                          .weights = WeightsVersion(at[kWeights].load(kRelaxed)),
                          .n_tokens = at[kTokens].load(std::memory_order_acquire)};
    const std::uint64_t n_blocks = at[kBlocks].load(std::memory_order_acquire);
    if (n_blocks > layout_.max_sequence_blocks) return std::nullopt;
    for (std::size_t b = 0; b < n_blocks; ++b) {
      const std::uint64_t block = at[kFirst + 2 * b].load(kRelaxed);
      if (block >= layout_.n_blocks) return std::nullopt;
      record.blocks.push_back(
          {BlockId(static_cast<std::uint32_t>(block)), Generation(at[kFirst + 2 * b + 1].load(kRelaxed))});
    }
    std::atomic_thread_fence(std::memory_order_acquire);
    if (at[kVersion].load(kRelaxed) == version) return record;
  }
  return std::nullopt;
}

Generation RecordsView::stamp_after(BlockId block) const {
  std::atomic_thread_fence(std::memory_order_acquire);
  return Generation(words_[block.value()].load(kRelaxed));
}

}  // namespace concertina::kvcache
