#pragma once

#include <optional>
#include <span>
#include <vector>

#include "base/time.h"
#include "cluster/messages.h"
#include "kvcache/broken_copy_rule.h"
#include "kvcache/holder.h"

namespace concertina::rank {

// The copy into this reservation is over, and so much of it counts: the scheduler is told, once.
struct Credit {
  kvcache::ReservationId reservation;
  std::size_t n_tokens = 0;
};
using Credits = std::vector<Credit>;

// Decides when what was copied from another rank counts (rule 28). A rank that crashes may have written
// anything before, and its channel closes before anybody knows how it ended; so a copy that is over is held
// until its source took part in an exchange that began after it, of a step that was committed, or has ended
// in a way that is trusted (SourceEnded). In any other end of its source nothing of it counts, and the same
// after kPatience. Copies begin at once, whatever becomes of their source.
//
// Exchanges and not steps, since a step of a large model takes 100 ms and has dozens of them: a copy that is
// over before the last three of a step counts with that step.
//
// Not found: memory that was wrong before an exchange in which its source still took part.
//
// Pure; one owner, which hosts the copies. Every reservation that begins is credited once.
class KvMoves {
 public:
  static constexpr Duration kPatience = std::chrono::seconds(5);
  explicit KvMoves(kvcache::BrokenCopyRule broken = kvcache::BrokenCopyRule::kNone) : broken_(broken) {}

  void begin(kvcache::ReservationId reservation, const cluster::Member& source);
  // So many tokens, whose blocks were still of the record's generations afterwards, have come. `n_exchanges`:
  // that this rank had completed in its life when that was known.
  void on_copied(kvcache::ReservationId reservation, std::size_t n_tokens, std::uint64_t n_exchanges,
                 Time now, Credits& credits);
  void on(const cluster::SourceEnded& ended, Credits& credits);

  // A step was committed, in which all these members took part to its end: `n_exchanges` are completed now.
  void on_step_committed(std::span<const cluster::Member> members, std::uint64_t n_exchanges,
                         Credits& credits);

  // The copies that are held for kPatience now are given up.
  void on_time(Time now, Credits& credits);
  std::optional<Time> deadline() const;  // of the next of these

  std::size_t n_pending() const { return moves_.size(); }

 private:
  struct Move {
    kvcache::ReservationId reservation;
    cluster::Member source;
    std::optional<std::size_t> n_copied;  // none: the copy goes on
    Time copied_at{};
    std::uint64_t n_exchanges = 0;  // completed when the copy was over
    std::optional<cluster::SourceEnded::Trust> ended;
  };
  using Verdict = std::optional<std::size_t>;  // tokens that count; none: it is held on

  template <typename Decide>
  void decide(const Decide& decide, Credits& credits);
  Verdict of_ended(const Move& move) const;
  bool took_part_since(const Move& move) const;

  const kvcache::BrokenCopyRule broken_;
  std::vector<Move> moves_;
  std::vector<cluster::Member> members_;  // of the last step that was committed
  std::uint64_t n_exchanges_ = 0;         // at its end
};

}  // namespace concertina::rank
