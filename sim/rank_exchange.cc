// The exchange of a simulated rank, in the order of its parts.
#include <fmt/format.h>

#include "sim/front.h"
#include "sim/rank.h"

namespace concertina::sim {

using cluster::Member;
using exchange::Header;
using exchange::HeaderMatch;
using exchange::Position;

std::size_t Rank::bank() const {  // [3]
  if (world_.scenario.mutant == Mutant::kTwoBanks) return progress_.position().index % 2;
  return exchange::bank_of(protocol_.epoch(), progress_.position().index);
}

void Rank::write_dispatch() {
  const Shape& shape = world_.scenario.shape;
  const auto layer = progress_.position().exchange;
  const auto& members = view_->plan.members;
  std::vector<std::vector<Entry>> entries(members.size());
  sent_.assign(rows_.size(), {});
  for (std::size_t row = 0; row < rows_.size(); ++row) {
    for (std::uint32_t k = 0; k < shape.top_k; ++k) {
      const std::uint32_t e = route(rows_[row], layer, k, shape);
      const std::size_t owner = view_->owner[layer][e];
      sent_[row].push_back({owner, entries[owner].size()});
      entries[owner].push_back({rows_[row], e});
    }
  }
  n_sent_.clear();
  dispatch_.assign(members.size(), {});
  result_.assign(members.size(), {});
  has_arrived_.assign(members.size(), 0);
  Memory::Bank& own = memory_.banks[bank()];
  own.entries.clear();
  own.entries_of = progress_.position();
  for (std::size_t m = 0; m < members.size(); ++m) {
    n_sent_.push_back(entries[m].size());
    const std::size_t begin = own.entries.size();
    own.entries.insert(own.entries.end(), entries[m].begin(), entries[m].end());
    publish(m, Half::kDispatch,
            {.incarnation = member_.incarnation,
             .position = progress_.position(),
             .flip_to = flip_to_,
             .begin = begin,
             .count = n_sent_[m],
             .n_rows = rows_.size()});
  }
}

// Put and signal, in order for each pair of ranks. A later header in the slot replaces what lies there.
void Rank::publish(std::size_t m, Half half, Header header) {
  const Member reader = view_->plan.members[m];
  if (reader == member_) {
    (half == Half::kDispatch ? dispatch_ : result_)[m] = header;
    return;
  }
  Time arrives = world_.schedule.now() + world_.message_delay(world_.scenario.message_time / 4);
  if (const auto parted = world_.parted_until.find(std::minmax(member_.rank, reader.rank));
      parted != world_.parted_until.end())
    arrives = std::max(arrives, parted->second);
  arrives = std::max(arrives, last_header_[reader.rank] + Duration(1));
  last_header_[reader.rank] = arrives;
  world_.schedule.at(arrives, [this, reader, half, header, bank = bank()] {
    Rank* peer = world_.find(reader);
    const bool is_dropped = world_.scenario.mutant == Mutant::kDropLaterEpoch && peer != nullptr &&
                            header.position.epoch > peer->protocol_.epoch();
    if (is_dropped) return;
    Memory::Bank& to = memory_.banks[bank];
    (half == Half::kDispatch ? to.dispatch : to.result)[reader.rank] = header;
    if (peer != nullptr) peer->ring();
  });
}

bool Rank::have_arrived(Half half) {
  const auto& members = view_->plan.members;
  bool are_all_in = true;
  for (std::size_t m = 0; m < members.size(); ++m) {
    if (m == view_->self || has_arrived_[m]) continue;
    const Memory::Bank& from = world_.find(members[m])->memory_.banks[bank()];
    const auto& slots = half == Half::kDispatch ? from.dispatch : from.result;
    const auto slot = slots.find(member_.rank);
    const std::optional<Header> found = slot == slots.end() ? std::nullopt : std::optional(slot->second);
    if (exchange::classify(found, progress_.position(), members[m].incarnation) == HeaderMatch::kMatch) {
      has_arrived_[m] = 1;
      (half == Half::kDispatch ? dispatch_ : result_)[m] = *found;
    } else {
      are_all_in = false;
    }
  }
  return are_all_in;
}

bool Rank::peer_started(const View& view, const Position& first) const {
  const std::size_t bank = world_.scenario.mutant == Mutant::kTwoBanks
                               ? first.index % 2
                               : exchange::bank_of(first.epoch, first.index);
  return std::any_of(view.plan.members.begin(), view.plan.members.end(), [&](const Member& peer) {
    if (peer == member_) return false;
    const Memory::Bank& from = world_.find(peer)->memory_.banks[bank];
    const auto slot = from.dispatch.find(member_.rank);
    return slot != from.dispatch.end() &&
           exchange::classify(slot->second, first, peer.incarnation) == HeaderMatch::kMatch;
  });
}

// Reports whom it waits for, again and again; only an abort gives up.
void Rank::watch_wait(Half half) {
  const std::uint64_t wait = ++n_waits_;
  world_.schedule.after(world_.scenario.cluster.peer_timeout, [this, wait, half] {
    if (wait != n_waits_ || !is_alive() || at_ == At::kBetween || at_ == At::kComputing) return;
    for (std::size_t m = 0; m < has_arrived_.size() && life_ == Life::kRunning; ++m) {
      if (m == view_->self || has_arrived_[m]) continue;
      report(cluster::PeerSuspected{member_, view_->plan.members[m].rank, protocol_.epoch(),
                                    "a header is missing"});
    }
    watch_wait(half);
  });
}

void Rank::begin_compute() {
  if (progress_.at_first_exchange()) {
    std::vector<Epoch> flags;
    for (const Header& header : dispatch_) flags.push_back(header.flip_to);
    flip_ = exchange::decide_flip(flags);
  }
  at_ = At::kComputing;
  const Duration time = slowness_ * world_.about(world_.scenario.step_time / world_.scenario.shape.n_layers);
  world_.schedule.after(time, [this] { end_compute(); });
}

// Peers' memory is read at the end: the worst moment.
void Rank::end_compute() {
  if (!is_alive() || life_ == Life::kWild) return;
  if (life_ == Life::kStopped) {
    world_.schedule.after(std::chrono::milliseconds(1), [this] { end_compute(); });
    return;
  }
  const auto layer = progress_.position().exchange;
  const auto& members = view_->plan.members;
  std::vector<Row> results;
  std::vector<std::size_t> begins;
  for (std::size_t m = 0; m < members.size(); ++m) {
    const Memory::Bank& from = world_.find(members[m])->memory_.banks[bank()];
    check_read(members[m], from.entries_of);
    const std::vector<Entry>& entries = from.entries;
    begins.push_back(results.size());
    for (std::size_t i = dispatch_[m].begin; i < dispatch_[m].begin + dispatch_[m].count; ++i) {
      if (i >= entries.size()) {
        results.push_back(0);
        continue;
      }
      const auto& layers = view_->plan.placement.layers;
      const auto slots = layers[layer].find(member_.rank);
      const bool holds = slots != layers[layer].end() &&
                         std::find(slots->second.begin(), slots->second.end(), ExpertId(entries[i].expert)) !=
                             slots->second.end();
      if (!holds && !world_.front->is_fenced(member_))
        world_.violate(fmt::format("rank {} is asked for expert {} of layer {}, which it does not hold",
                                   member_.rank, entries[i].expert, layer));
      results.push_back(expert(entries[i].row, layer, entries[i].expert));
    }
  }
  memory_.banks[bank()].results = std::move(results);
  memory_.banks[bank()].results_of = progress_.position();
  has_arrived_.assign(members.size(), 0);
  for (std::size_t m = 0; m < members.size(); ++m) {
    publish(m, Half::kResult,
            {.incarnation = member_.incarnation,
             .position = progress_.position(),
             .begin = begins[m],
             .count = dispatch_[m].count});
  }
  at_ = At::kResult;
  watch_wait(Half::kResult);
  ring();
}

// Nobody writes into a bank that somebody may still read; a fenced rank alone reads what it likes.
void Rank::check_read(const Member& writer, const Position& found) {
  if (found == progress_.position() || world_.front->is_fenced(member_)) return;
  world_.violate(fmt::format("{} reads what {} wrote for {}", describe(), writer.rank,
                             exchange::describe(writer.rank, found)));
}

void Rank::finish_exchange() {
  const Shape& shape = world_.scenario.shape;
  const auto& members = view_->plan.members;
  for (const Member& member : members)
    check_read(member, world_.find(member)->memory_.banks[bank()].results_of);
  for (std::size_t row = 0; row < rows_.size(); ++row) {
    std::vector<Row> results;
    for (const Sent& sent : sent_[row]) {
      const std::vector<Row>& from = world_.find(members[sent.member])->memory_.banks[bank()].results;
      const std::size_t at = result_[sent.member].begin + sent.index;
      results.push_back(at < from.size() ? from[at] : 0);
    }
    rows_[row] = combine(results);
  }
  progress_.complete_exchange();
  ++n_exchanges_;
  if (progress_.position().exchange == shape.n_layers) return commit_step();
  write_dispatch();
  at_ = At::kDispatch;
  watch_wait(Half::kDispatch);
  tell_tokens_early();
}

}  // namespace concertina::sim
