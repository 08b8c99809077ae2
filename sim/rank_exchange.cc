// The exchange of a simulated rank, in the order of its parts.
#include <fmt/format.h>

#include "base/check.h"
#include "sim/front.h"
#include "sim/rank.h"

namespace concertina::sim {

using cluster::Member;
using exchange::Header;
using exchange::Position;

// Put and signal, in order for each pair of ranks. A later header in the slot replaces what lies there.
class Rank::Peer final : public exchange::PeerLink {
 public:
  Peer(Rank& own, Rank& peer) : own_(own), peer_(peer) {}

  void publish(Half half, std::size_t bank, const Header& header) const override {
    World& world = own_.world_;
    const RankId from = own_.member_.rank, to = peer_.member_.rank;
    Time arrives = world.schedule.now() + world.message_delay(world.scenario.message_time / 4);
    if (const auto parted = world.parted_until.find(std::minmax(from, to));
        parted != world.parted_until.end())
      arrives = std::max(arrives, parted->second);
    Time& last = own_.last_header_[to];
    arrives = last = std::max(arrives, last + Duration(1));
    world.schedule.at(arrives, [&own = own_, &peer = peer_, half, bank, header] {
      slots(own, half, bank)[peer.member_.rank] = header;
      peer.ring();
    });
  }
  std::optional<Header> look(Half half, std::size_t bank) const override {
    const auto& of_peer = slots(peer_, half, bank);
    const auto slot = of_peer.find(own_.member_.rank);
    return slot == of_peer.end() ? std::nullopt : std::optional(slot->second);
  }
  const std::byte* body() const override { return nullptr; }

 private:
  static std::map<RankId, Header>& slots(Rank& writer, Half half, std::size_t bank) {
    return writer.memory_[bank].headers[static_cast<std::size_t>(half)];
  }

  Rank& own_;
  Rank& peer_;
};

std::shared_ptr<const exchange::PeerLink> Rank::connect(const Member& peer) {
  return peer == member_ ? nullptr : std::make_shared<Peer>(*this, *world_.find(peer));
}

Rank::Bank& Rank::bank_of(std::size_t member) const {
  return world_.find(view_->plan.members[member])->memory_[steps_.bank()];
}

void Rank::write_dispatch() {
  const Shape& shape = world_.scenario.shape;
  CHECK(steps_.begin_exchange());
  const auto layer = steps_.position().exchange;
  const std::size_t n_members = view_->plan.members.size();
  std::vector<std::vector<Entry>> entries(n_members);
  sent_.assign(rows_.size(), {});
  for (std::size_t row = 0; row < rows_.size(); ++row) {
    for (std::uint32_t k = 0; k < shape.top_k; ++k) {
      const std::uint32_t e = route(rows_[row], layer, k, shape);
      const std::size_t owner = view_->owner[layer][e];
      sent_[row].push_back({owner, entries[owner].size()});
      entries[owner].push_back({rows_[row], e});
    }
  }
  Bank& own = bank_of(view_->group.self);
  own.entries.clear();
  own.entries_of = steps_.position();
  for (std::size_t m = 0; m < n_members; ++m) {
    const std::size_t begin = own.entries.size();
    own.entries.insert(own.entries.end(), entries[m].begin(), entries[m].end());
    steps_.publish(m, Half::kDispatch, {.begin = begin, .count = entries[m].size(), .n_rows = rows_.size()});
  }
  await(Half::kDispatch);
}

void Rank::await(Half half) {
  steps_.begin_await();
  at_ = half == Half::kDispatch ? At::kDispatch : At::kResult;
  watch_wait(half);
}

bool Rank::take_arrived(Half half) {
  return steps_.take_arrived(half, [] { return Duration::zero(); });
}

// Reports whom it waits for, again and again; only an abort gives up.
void Rank::watch_wait(Half half) {
  const std::uint64_t wait = ++n_waits_;
  const Duration timeout = world_.scenario.cluster.peer_timeout;
  world_.schedule.after(timeout, [this, wait, half, timeout] {
    if (wait != n_waits_ || !is_alive() || at_ == At::kBetween || at_ == At::kComputing) return;
    if (life_ == Life::kRunning)
      steps_.suspect(half, timeout, [this](const exchange::Suspicion& suspicion) {
        report(cluster::PeerSuspected{member_, suspicion.rank, suspicion.epoch, suspicion.what});
      });
    watch_wait(half);
  });
}

void Rank::begin_compute() {
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
  const auto layer = steps_.position().exchange;
  const auto& slots = view_->plan.placement.layers[layer];
  const auto held = slots.find(member_.rank);
  const std::size_t n_members = view_->plan.members.size();
  std::vector<Row> results;
  std::vector<std::size_t> begins;
  for (std::size_t m = 0; m < n_members; ++m) {
    const Bank& from = bank_of(m);
    check_read(m, from.entries_of);
    begins.push_back(results.size());
    const Header& header = steps_.header(Half::kDispatch, m);
    for (std::size_t i = header.begin; i < header.begin + header.count; ++i) {
      if (i >= from.entries.size()) {
        results.push_back(0);
        continue;
      }
      const Entry& entry = from.entries[i];
      const bool holds = held != slots.end() &&
                         std::count(held->second.begin(), held->second.end(), ExpertId(entry.expert)) > 0;
      if (!holds && !world_.front->is_fenced(member_))
        world_.violate(fmt::format("rank {} is asked for expert {} of layer {}, which it does not hold",
                                   member_.rank, entry.expert, layer));
      results.push_back(expert(entry.row, layer, entry.expert));
    }
  }
  Bank& own = bank_of(view_->group.self);
  own.results = std::move(results);
  own.results_of = steps_.position();
  for (std::size_t m = 0; m < n_members; ++m)
    steps_.publish(m, Half::kResult, {.begin = begins[m], .count = steps_.header(Half::kDispatch, m).count});
  await(Half::kResult);
  ring();
}

// Nobody writes into a bank that somebody may still read; a fenced rank alone reads what it likes.
void Rank::check_read(std::size_t writer, const Position& found) {
  if (found == steps_.position() || world_.front->is_fenced(member_)) return;
  const RankId rank = view_->plan.members[writer].rank;
  world_.violate(
      fmt::format("{} reads what {} wrote for {}", describe(), rank, exchange::describe(rank, found)));
}

void Rank::finish_exchange() {
  for (std::size_t m = 0; m < view_->plan.members.size(); ++m) check_read(m, bank_of(m).results_of);
  for (std::size_t row = 0; row < rows_.size(); ++row) {
    std::vector<Row> results;
    for (const Sent& sent : sent_[row]) {
      const std::vector<Row>& from = bank_of(sent.member).results;
      const std::size_t at = steps_.header(Half::kResult, sent.member).begin + sent.index;
      results.push_back(at < from.size() ? from[at] : 0);
    }
    rows_[row] = combine(results);
  }
  steps_.complete_exchange();
  if (steps_.position().exchange == world_.scenario.shape.n_layers) return commit_step();
  write_dispatch();
}

}  // namespace concertina::sim
