#pragma once

#include <deque>
#include <functional>
#include <optional>
#include <set>
#include <vector>

#include "kvcache/sequence_copy.h"
#include "rank/kv_moves.h"
#include "sim/kv_memory.h"
#include "sim/world.h"

namespace concertina::sim {

// KV of requests that come to a rank after another has computed some of them, in virtual time: what
// worker::IncomingKv and its mover do with a thread. A block takes time, in which its source goes on writing,
// is preempted, killed or reused; when it is read, and when it is written, are two events.
class IncomingKv {
 public:
  // `n_exchanges`: that the rank has completed. `ring` wakes the rank: an answer of the mover is there, or it
  // is time.
  IncomingKv(World& world, const cluster::Member& self, scheduler::Scheduler& scheduler, KvMemory& own,
             const std::uint64_t& n_exchanges, std::function<void()> ring);

  void map(const cluster::Member& peer) { mapped_.insert(peer); }
  void on_assigned(RequestId request, const cluster::Member& source);
  void on_taken_over(RequestId request);
  void on_dropped(RequestId request);
  void on(const cluster::SourceEnded& ended);
  void on_step_committed(std::span<const cluster::Member> members);
  void freeze();  // no peer's memory is read from here on, until an epoch is entered
  void resume();
  void between_steps();  // what the mover answered, and what waited too long

  // Of its process: the mover stands still, or is no more.
  void stop() { process_ = Process::kStopped; }
  void go_on();
  void end() { process_ = Process::kEnded; }

 private:
  enum class Process : std::uint8_t { kRuns, kStopped, kEnded };
  struct Job {
    kvcache::ReservationId reservation;
    RequestId request;
    cluster::Member source;
    std::vector<BlockId> blocks;
    kvcache::SequenceCopy copy;
    enum class Wanted : std::uint8_t { kNo, kYes } wanted = Wanted::kYes;
    enum class SourceWas : std::uint8_t { kAlive, kEnded } source_was = SourceWas::kAlive;
    std::optional<std::vector<Row>> block = {};  // that is on its way: its first half was read
  };
  struct Answer {
    kvcache::ReservationId reservation;
    std::size_t n_tokens = 0;
    std::uint64_t n_exchanges = 0;  // of this rank when that was known
  };

  void tick_later();
  void tick();
  void advance(Job& job);
  void begin(Job& job);
  void read_block(Job& job);
  void write_block(Job& job);
  void finish(Job& job, std::size_t n_tokens);
  void note_copy(const Job& job, std::size_t n_tokens);
  void credit(CopyCase why);
  KvMemory& memory_of(const cluster::Member& source) const;
  kvcache::RecordsView records_of(const cluster::Member& source) const;
  Job* find(RequestId request);

  World& world_;
  const cluster::Member self_;
  scheduler::Scheduler& scheduler_;
  KvMemory& own_;
  const std::uint64_t& n_exchanges_;
  const std::function<void()> ring_;
  rank::KvMoves moves_;
  rank::Credits credits_;
  std::set<cluster::Member> mapped_;
  std::deque<Job> jobs_;  // the first is under way
  std::deque<Answer> answers_;
  enum class Mover : std::uint8_t { kIdle, kDue } mover_ = Mover::kIdle;
  bool is_frozen_ = false;
  std::optional<Time> alarm_;  // at which it is rung, if something is held by then
  Process process_ = Process::kRuns;
};

}  // namespace concertina::sim
