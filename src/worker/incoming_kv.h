#pragma once

#include "rank/kv_moves.h"
#include "worker/mover.h"
#include "worker/rank_parts.h"

namespace concertina::worker {

// KV of requests that come to this rank after another has computed some of them: it is copied at once, where
// there is room and the other's memory is mapped, and counts when rank::KvMoves says so. Where it does not
// come the scheduler has the rest computed. The step thread's.
class IncomingKv {
 public:
  // `tell` is called on the mover's thread: on(KvCopied) must follow, on the step thread.
  IncomingKv(const RankParts& rank, std::function<void(const KvCopied&)> tell);

  // The scheduler has the request; `source` may have KV of it.
  void on_assigned(RequestId request, request::Mode mode, const cluster::Member& source);
  void on_taken_over(RequestId request) { mover_.hurry(request); }  // its stream stands still now
  void on_dropped(RequestId request) { mover_.drop(request); }
  void on(const KvCopied& copied);
  void on(const cluster::SourceEnded& ended);

  // What becomes of steps, and of the epoch that they belong to.
  void on_step_begun() { moves_.on_step_begun(); }
  void on_step_committed();
  void on_step_void() { moves_.on_step_void(); }
  void freeze() { mover_.pause(); }  // when it returns no peer's memory is read, until an epoch is entered
  void enter_epoch(const exchange::EpochView* view);  // null: as a leaver

  void on_time();
  std::optional<Time> deadline() const { return moves_.deadline(); }  // of the next on_time()

 private:
  void credit();
  static Time now() { return std::chrono::steady_clock::now(); }

  const RankParts& rank_;
  rank::KvMoves moves_;
  rank::Credits credits_;
  std::vector<cluster::Member> members_;  // of the epoch in force
  Mover mover_;                           // last: its thread ends first
};

}  // namespace concertina::worker
