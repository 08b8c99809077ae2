#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <optional>

#include "exchange/protocol/header.h"
#include "exchange/protocol/layout.h"

namespace concertina::exchange {

// A header in shared memory, with one writer and one reader. A sequence number, odd while the writer is at
// work, keeps a reader from seeing half of it (a seqlock; H. Boehm, "Can seqlocks get along with programming
// language memory models?", MSPC 2012): a slot may be looked at while an older header in it is replaced.
// Storing publishes everything written before.
class alignas(kHeaderBytes) HeaderSlot {
 public:
  void store(const Header& header) {
    const std::uint64_t sequence = sequence_.load(std::memory_order_relaxed);
    sequence_.store(sequence + 1, std::memory_order_relaxed);
    const auto values = to_words(header);
    for (std::size_t i = 0; i < values.size(); ++i) words_[i].store(values[i], std::memory_order_release);
    sequence_.store(sequence + 2, std::memory_order_release);
  }

  // nullopt: never written, or being written.
  std::optional<Header> load() const {
    const std::uint64_t sequence = sequence_.load(std::memory_order_acquire);
    if (sequence == 0 || sequence % 2 != 0) return std::nullopt;
    std::array<std::uint64_t, kWords> values;
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = words_[i].load(std::memory_order_acquire);
    if (sequence_.load(std::memory_order_relaxed) != sequence) return std::nullopt;
    return from_words(values);
  }

 private:
  static constexpr std::size_t kWords = 13;

  static std::array<std::uint64_t, kWords> to_words(const Header& header) {
    return {header.incarnation.value(),
            header.position.epoch.value(),
            header.position.step.value(),
            header.position.exchange,
            header.position.index,
            header.flip_to.value(),
            header.begin,
            header.count,
            header.n_rows,
            pair(header.load.n_streams, header.load.n_tokens),
            header.load.n_positions,
            pair(header.load.n_prefill, header.load.n_decode_positions),
            pair(header.load.n_wanted, header.load.wanted_at)};
  }
  static Header from_words(const std::array<std::uint64_t, kWords>& words) {
    return {.incarnation = Incarnation(words[0]),
            .position = {.epoch = Epoch(words[1]),
                         .step = StepId(words[2]),
                         .exchange = static_cast<std::uint32_t>(words[3]),
                         .index = words[4]},
            .flip_to = Epoch(words[5]),
            .begin = words[6],
            .count = words[7],
            .n_rows = words[8],
            .load = {.n_streams = low(words[9]),
                     .n_tokens = high(words[9]),
                     .n_positions = words[10],
                     .n_prefill = low(words[11]),
                     .n_decode_positions = high(words[11]),
                     .n_wanted = low(words[12]),
                     .wanted_at = high(words[12])}};
  }
  static constexpr std::uint64_t pair(std::uint32_t low, std::uint32_t high) {
    return std::uint64_t{high} << 32 | low;
  }
  static constexpr std::uint32_t low(std::uint64_t word) { return static_cast<std::uint32_t>(word); }
  static constexpr std::uint32_t high(std::uint64_t word) { return static_cast<std::uint32_t>(word >> 32); }

  std::atomic<std::uint64_t> sequence_;
  std::array<std::atomic<std::uint64_t>, kWords> words_;
};
static_assert(sizeof(HeaderSlot) == kHeaderBytes && std::atomic<std::uint64_t>::is_always_lock_free);

}  // namespace concertina::exchange
