#include "sim/incoming_kv.h"

#include <fmt/format.h>

#include <algorithm>

#include "sim/rank.h"

namespace concertina::sim {

using cluster::Member;
using Trust = cluster::SourceEnded::Trust;

IncomingKv::IncomingKv(World& world, const Member& self, scheduler::Scheduler& scheduler, KvMemory& own,
                       const std::uint64_t& n_exchanges, std::function<void()> ring)
    : world_(world),
      self_(self),
      scheduler_(scheduler),
      own_(own),
      n_exchanges_(n_exchanges),
      ring_(std::move(ring)),
      moves_(world.scenario.broken<kvcache::BrokenCopyRule>()) {}

// ---- The step thread's part.

void IncomingKv::on_assigned(RequestId request, const Member& source) {
  auto reservation = scheduler_.reserve(request);
  if (!reservation) return world_.coverage.note(CopyCase::kNoRoom);
  if (!mapped_.contains(source)) {
    world_.coverage.note(CopyCase::kNotMapped);
    return scheduler_.arrived(reservation->id, 0);
  }
  world_.coverage.note(CopyCase::kBegun);
  moves_.begin(reservation->id, source);
  jobs_.push_back({.reservation = reservation->id,
                   .request = request,
                   .source = source,
                   .blocks = std::move(reservation->blocks),
                   .copy = kvcache::SequenceCopy({.request = request,
                                                  .n_tokens = reservation->n_tokens,
                                                  .block_size = world_.scenario.limits.block_size},
                                                 world_.scenario.broken<kvcache::BrokenCopyRule>())});
  tick_later();
}

void IncomingKv::on_taken_over(RequestId request) {
  if (find(request) != nullptr) world_.coverage.note(CopyCase::kTakenOver);
}

void IncomingKv::on_dropped(RequestId request) {
  Job* const job = find(request);
  if (job == nullptr) return;
  world_.coverage.note(CopyCase::kDropped);
  job->wanted = Job::Wanted::kNo;
}

void IncomingKv::on(const cluster::SourceEnded& ended) {
  mapped_.erase(ended.source);  // jobs that are under way have a mapping of their own
  moves_.on(ended, credits_);
  credit(ended.trust == Trust::kYes ? CopyCase::kCountsByEnd : CopyCase::kDistrusted);
}

void IncomingKv::on_step_committed(std::span<const Member> members) {
  moves_.on_step_committed(members, n_exchanges_, credits_);
  credit(CopyCase::kCountsByStep);
}

void IncomingKv::between_steps() {
  while (!answers_.empty()) {
    const Answer answer = answers_.front();
    answers_.pop_front();
    moves_.on_copied(answer.reservation, answer.n_tokens, answer.n_exchanges, world_.schedule.now(),
                     credits_);
    credit(CopyCase::kDecidedAtOnce);
  }
  moves_.on_time(world_.schedule.now(), credits_);
  credit(CopyCase::kGivenUp);
  const auto deadline = moves_.deadline();
  if (deadline && deadline != alarm_) world_.schedule.at(*deadline, ring_);
  alarm_ = deadline;
}

void IncomingKv::credit(CopyCase why) {
  for (const rank::Credit& credit : credits_) {
    world_.coverage.note(why);
    world_.note(
        fmt::format("rank {}: {} copied tokens count ({})", self_.rank, credit.n_tokens, name_of(why)));
    scheduler_.arrived(credit.reservation, credit.n_tokens);
  }
  credits_.clear();
}

// ---- The mover's part.

// A block that is on its way is waited for.
void IncomingKv::freeze() {
  is_frozen_ = true;
  if (jobs_.empty()) return;
  world_.coverage.note(CopyCase::kFrozen);
  if (jobs_.front().block) write_block(jobs_.front());
}

void IncomingKv::resume() {
  is_frozen_ = false;
  tick_later();
}

void IncomingKv::go_on() {
  process_ = Process::kRuns;
  tick_later();
}

void IncomingKv::tick_later() {
  if (mover_ == Mover::kDue || jobs_.empty()) return;
  mover_ = Mover::kDue;
  world_.schedule.after(world_.about(world_.scenario.copy_time), [this] {
    mover_ = Mover::kIdle;
    tick();
  });
}

void IncomingKv::tick() {
  if (process_ != Process::kRuns || is_frozen_ || jobs_.empty()) return;
  advance(jobs_.front());
  tick_later();
}

void IncomingKv::advance(Job& job) {
  if (job.block) write_block(job);
  if (job.wanted == Job::Wanted::kNo) return finish(job, 0);
  if (!job.copy.has_begun()) return begin(job);
  if (job.copy.next()) return read_block(job);
  finish(job, job.copy.n_good(records_of(job.source)));
}

void IncomingKv::begin(Job& job) {
  if (!world_.find(job.source)->is_alive()) job.source_was = Job::SourceWas::kEnded;
  job.copy.begin(records_of(job.source));
}

// Half of it now, half of it later: its source may write to it in between.
void IncomingKv::read_block(Job& job) { job.block = memory_of(job.source).block(job.copy.next()->from); }

void IncomingKv::write_block(Job& job) {
  const kvcache::SequenceCopy::Block block = *job.copy.next();
  const std::vector<Row>& now = memory_of(job.source).block(block.from);
  std::vector<Row>& to = own_.block(job.blocks[block.place]);
  const std::size_t half = now.size() / 2;
  for (std::size_t i = 0; i < now.size(); ++i) to[i] = i < half ? (*job.block)[i] : now[i];
  job.block.reset();
  job.copy.copied();
}

void IncomingKv::finish(Job& job, std::size_t n_tokens) {
  note_copy(job, n_tokens);
  answers_.push_back({job.reservation, n_tokens, n_exchanges_});
  jobs_.pop_front();
  ring_();
}

void IncomingKv::note_copy(const Job& job, std::size_t n_tokens) {
  const bool was_alive = job.source_was == Job::SourceWas::kAlive;
  world_.note(fmt::format("rank {} copied {} tokens of request {} from rank {}", self_.rank, n_tokens,
                          job.request, job.source.rank));
  if (job.wanted == Job::Wanted::kNo) return;
  world_.coverage.note(!job.copy.has_found()            ? CopyCase::kNoRecord
                       : n_tokens < job.copy.n_tokens() ? CopyCase::kReused
                                                        : CopyCase::kCopied);
  if (!was_alive) world_.coverage.note(CopyCase::kFromTheDead);
  if (was_alive && !world_.find(job.source)->is_alive()) world_.coverage.note(CopyCase::kSourceEnded);
}

KvMemory& IncomingKv::memory_of(const Member& source) const { return world_.find(source)->kv(); }

kvcache::RecordsView IncomingKv::records_of(const Member& source) const {
  return {scheduler::records_layout(world_.scenario.limits), memory_of(source).records(),
          world_.scenario.broken<kvcache::BrokenCopyRule>()};
}

IncomingKv::Job* IncomingKv::find(RequestId request) {
  const auto job = std::find_if(jobs_.begin(), jobs_.end(), [request](const Job& j) {
    return j.request == request && j.wanted == Job::Wanted::kYes;
  });
  return job == jobs_.end() ? nullptr : &*job;
}

}  // namespace concertina::sim
