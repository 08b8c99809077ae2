#include "rank/kv_moves.h"

#include <algorithm>

#include "base/check.h"

namespace concertina::rank {

using Trust = cluster::SourceEnded::Trust;

namespace {
// The first may have begun before the copy was over; one more, since another thread reads the count.
constexpr std::uint64_t kLeastExchanges = 3;
}  // namespace

template <typename Decide>
void KvMoves::decide(const Decide& decide, Credits& credits) {
  std::erase_if(moves_, [&](const Move& move) {
    const Verdict n_tokens = move.n_copied ? decide(move) : std::nullopt;
    if (n_tokens) credits.push_back({move.reservation, *n_tokens});
    return n_tokens.has_value();
  });
}

KvMoves::Verdict KvMoves::of_ended(const Move& move) const {
  if (*move.n_copied == 0 || broken_ == kvcache::BrokenCopyRule::kCreditFromCrashed) return move.n_copied;
  if (!move.ended) return std::nullopt;
  return *move.ended == Trust::kYes ? *move.n_copied : 0;
}

void KvMoves::begin(kvcache::ReservationId reservation, const cluster::Member& source) {
  moves_.push_back({.reservation = reservation, .source = source});
}

bool KvMoves::took_part_since(const Move& move) const {
  return move.n_exchanges + kLeastExchanges <= n_exchanges_ &&
         std::find(members_.begin(), members_.end(), move.source) != members_.end();
}

void KvMoves::on_copied(kvcache::ReservationId reservation, std::size_t n_tokens, std::uint64_t n_exchanges,
                        Time now, Credits& credits) {
  const auto move =
      std::find_if(moves_.begin(), moves_.end(), [&](const Move& m) { return m.reservation == reservation; });
  CHECK(move != moves_.end() && !move->n_copied, "a copy into reservation {} is over that never began",
        reservation);
  move->n_copied = n_tokens;
  move->n_exchanges = n_exchanges;
  move->copied_at = now;
  decide([&](const Move& m) { return took_part_since(m) ? m.n_copied : of_ended(m); }, credits);
}

void KvMoves::on(const cluster::SourceEnded& ended, Credits& credits) {
  for (Move& move : moves_)
    if (move.source == ended.source) move.ended = ended.trust;
  decide([&](const Move& m) { return of_ended(m); }, credits);
}

void KvMoves::on_step_committed(std::span<const cluster::Member> members, std::uint64_t n_exchanges,
                                Credits& credits) {
  members_.assign(members.begin(), members.end());
  n_exchanges_ = n_exchanges;
  if (!moves_.empty())
    decide([&](const Move& m) { return took_part_since(m) ? m.n_copied : std::nullopt; }, credits);
}

void KvMoves::on_time(Time now, Credits& credits) {
  decide([&](const Move& move) { return now - move.copied_at >= kPatience ? Verdict(0) : std::nullopt; },
         credits);
}

std::optional<Time> KvMoves::deadline() const {
  std::optional<Time> first;
  for (const Move& move : moves_)
    if (move.n_copied && (!first || move.copied_at + kPatience < *first)) first = move.copied_at + kPatience;
  return first;
}

}  // namespace concertina::rank
