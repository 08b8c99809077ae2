#include "worker/incoming_kv.h"

namespace concertina::worker {

IncomingKv::IncomingKv(const RankParts& rank, std::function<void(const KvCopied&)> tell)
    : rank_(rank), mover_(*rank.kv_memory, rank.kv_move_bytes_per_second, std::move(tell)) {}

// A source that is not mapped answers like one without a record.
void IncomingKv::on_assigned(RequestId request, request::Mode mode, const cluster::Member& source) {
  using Stream = KvCopyJob::Stream;
  auto reservation = rank_.scheduler->reserve(request);
  if (!reservation) return;
  auto peer = rank_.kv_peers->find(source);
  if (peer == nullptr) return rank_.scheduler->arrived(reservation->id, 0);
  moves_.begin(reservation->id, source);
  mover_.copy({.reservation = reservation->id,
               .request = request,
               .weights = rank_.model->version(),
               .source = std::move(peer),
               .blocks = std::move(reservation->blocks),
               .n_tokens = reservation->n_tokens,
               .stream = mode == request::Mode::kLive ? Stream::kStandsStill : Stream::kGoesOn});
}

void IncomingKv::on(const KvCopied& copied) {
  moves_.on_copied(copied.reservation, copied.n_tokens, now(), credits_);
  credit();
}

void IncomingKv::on(const cluster::SourceEnded& ended) {
  moves_.on(ended, credits_);
  credit();
}

void IncomingKv::on_step_committed() {
  moves_.on_step_committed(members_, credits_);
  credit();
}

void IncomingKv::enter_epoch(const exchange::EpochView* view) {
  members_.clear();
  if (view != nullptr)
    for (const exchange::EpochView::Peer& peer : view->members())
      members_.push_back({peer.rank, peer.incarnation});
  mover_.resume();
}

void IncomingKv::on_time() {
  if (!moves_.deadline()) return;
  moves_.on_time(now(), credits_);
  credit();
}

void IncomingKv::credit() {
  for (const rank::Credit& credit : credits_) rank_.scheduler->arrived(credit.reservation, credit.n_tokens);
  credits_.clear();
}

}  // namespace concertina::worker
