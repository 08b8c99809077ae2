#pragma once

#include <optional>
#include <span>
#include <vector>

#include "base/time.h"
#include "cluster/messages.h"
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
// until its source took part in a step that began after it, or has ended in a way that is trusted
// (SourceEnded). In any other end of its source nothing of it counts, and the same after kPatience. Copies
// begin at once, whatever becomes of their source.
//
// Not found: memory that was wrong before a step in which its source still took part.
//
// Pure; one owner, which hosts the copies. Every reservation that begins is credited once.
class KvMoves {
 public:
  static constexpr Duration kPatience = std::chrono::seconds(5);
  // A rule broken on purpose, for the simulator, which must notice.
  enum class Broken : std::uint8_t { kNothing, kCreditFromCrashed /* 28: every copy counts */ };
  explicit KvMoves(Broken broken = Broken::kNothing) : broken_(broken) {}

  void begin(kvcache::ReservationId reservation, const cluster::Member& source);
  // So many tokens, whose blocks were still of the record's generations afterwards, have come.
  void on_copied(kvcache::ReservationId reservation, std::size_t n_tokens, Time now, Credits& credits);
  void on(const cluster::SourceEnded& ended, Credits& credits);

  // Of the step thread: a step begins; it was committed, by all these members; it became void.
  void on_step_begun();
  void on_step_committed(std::span<const cluster::Member> members, Credits& credits);
  void on_step_void();

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
    enum class Step : std::uint8_t { kNone, kUnderWay } step = Step::kNone;  // one that began after the copy
    std::optional<cluster::SourceEnded::Trust> ended;
  };
  using Verdict = std::optional<std::size_t>;  // tokens that count; none: it is held on

  template <typename Decide>
  void decide(const Decide& decide, Credits& credits);
  Verdict of_ended(const Move& move) const;

  const Broken broken_;
  std::vector<Move> moves_;
};

}  // namespace concertina::rank
