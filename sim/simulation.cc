#include "sim/simulation.h"

#include <fmt/format.h>

#include <algorithm>

#include "sim/front.h"
#include "sim/rank.h"

namespace concertina::sim {

namespace {

using cluster::Member;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Duration kCalmLimit = seconds(120);  // virtual time that the second phase may take

class Simulation {
 public:
  Simulation(const Scenario& scenario, Coverage& coverage) : world_(scenario, coverage), front_(world_) {
    world_.front = &front_;
  }

  Outcome run() {
    front_.start();
    for (std::size_t i = 0; i < world_.scenario.n_requests; ++i) {
      world_.schedule.after(below(world_.random, world_.scenario.length), [this, i] {
        --n_to_come_;
        front_.submit(i);
      });
    }
    n_to_come_ = world_.scenario.n_requests;
    plant_faults();
    const Time calm = world_.schedule.now() + world_.scenario.length;
    while (goes_on() && world_.schedule.next() < calm) world_.schedule.step();
    cease_faults();
    const Time limit = calm + kCalmLimit;
    while (goes_on() && !has_come_to_rest() && world_.schedule.next() < limit) world_.schedule.step();
    // Whoever was released, killed or fenced is reaped, and late messages arrive.
    const Time end = world_.schedule.now() + 3 * world_.scenario.cluster.release_timeout + seconds(1);
    while (goes_on() && world_.schedule.next() < end) world_.schedule.step();
    if (world_.violations.empty() && !front_.is_over()) {
      if (!front_.is_calm()) world_.violate("it does not come to rest: " + front_.describe());
      front_.at_rest();
    }
    return outcome();
  }

 private:
  bool goes_on() const { return world_.violations.empty() && !front_.is_over() && !world_.schedule.empty(); }
  bool has_come_to_rest() const { return n_to_come_ == 0 && front_.is_calm(); }

  // A fault of one kind, again and again at random times, until phase two.
  void plant(Duration mean, void (Simulation::*fault)()) {
    if (mean == Duration::zero()) return;
    world_.schedule.after(Duration(1) + below(world_.random, 2 * mean), [this, mean, fault] {
      if (world_.phase == World::Phase::kCalm || front_.is_over()) return;
      (this->*fault)();
      plant(mean, fault);
    });
  }

  void plant_faults() {
    const Scenario& s = world_.scenario;
    plant(s.scale_every, &Simulation::scale);
    plant(s.kill_every, &Simulation::kill_one);
    plant(s.kill_all_every, &Simulation::kill_all);
    plant(s.stop_every, &Simulation::stop_one);
    plant(s.slow_every, &Simulation::slow_one);
    plant(s.break_every, &Simulation::break_one);
    plant(s.part_every, &Simulation::part_two);
    plant(s.leave_every, &Simulation::leave_one);
    plant(s.cancel_every, &Simulation::cancel_one);
    plant(s.fail_starts_every, &Simulation::fail_starts);
    plant(s.want_room_every, &Simulation::want_room);
    if (s.shutdown_at > Duration::zero())
      world_.schedule.after(s.shutdown_at, [this] { front_.begin_shutdown(); });
  }

  Rank* some_rank() {
    std::vector<Rank*> alive;
    for (const auto& [member, rank] : world_.ranks) {
      if (rank->is_alive()) alive.push_back(rank.get());
    }
    return alive.empty() ? nullptr : alive[world_.random.below(alive.size())];
  }
  Duration some_time() {  // around the peer timeout: shorter is nothing, longer is death
    return below(world_.random, 3 * world_.scenario.cluster.peer_timeout);
  }

  void scale() { front_.request_scale(); }
  void cancel_one() { front_.cancel_some_request(); }
  void kill_one() {
    Rank* rank = some_rank();
    if (rank == nullptr) return;
    if (world_.chance(world_.scenario.p_wild)) return rank->go_wild();
    rank->kill(world_.chance(0.5) ? kCrash : killed("signal 9"));
  }
  void kill_all() {
    for (const auto& [member, rank] : world_.ranks) rank->kill(killed("signal 9, all of them"));
  }
  void stop_one() {
    Rank* rank = some_rank();
    if (rank == nullptr) return;
    world_.note(fmt::format("rank {} is stopped", rank->member().rank));
    ++world_.coverage.n_stopped;
    rank->stop();
    world_.schedule.after(some_time(), [rank] { rank->resume(); });
  }
  void slow_one() {
    Rank* rank = some_rank();
    if (rank == nullptr) return;
    rank->slow_down(static_cast<int>(2 + world_.random.below(20)));
    world_.schedule.after(some_time(), [rank] { rank->slow_down(1); });
  }
  void break_one() {
    if (Rank* rank = some_rank()) front_.lose_channel(rank->member());
  }
  void part_two() {
    Rank* a = some_rank();
    Rank* b = some_rank();
    if (a == nullptr || a == b) return;
    // Not again and again: who waits for five peer timeouts is right to call the other one stuck.
    Time& until = world_.parted_until[std::minmax(a->member().rank, b->member().rank)];
    if (world_.schedule.now() > until + 2 * world_.scenario.cluster.peer_timeout)
      until = world_.schedule.now() + some_time();
  }
  // For longer than the pauses between tries at times; and sometimes nobody is left meanwhile. Not before the
  // first epoch: that ends the server, and the run.
  Duration some_seconds() { return below(world_.random, world_.scenario.length); }
  void fail_starts() {
    if (!front_.coordinator().has_served()) return;
    world_.starts_fail_until = world_.schedule.now() + some_seconds();
    world_.note("starts fail from here on");
    if (world_.random.below(3) == 0) return kill_all();
    kill_one();
  }
  void want_room() {
    const cluster::EpochPlan* active = front_.coordinator().active_epoch();
    if (active == nullptr) return;
    world_.room_wanted_until = world_.schedule.now() + some_seconds();
    world_.n_members_with_room = active->members.size();
    world_.note(fmt::format("the weights need {} ranks from here on", active->members.size()));
    kill_one();
  }
  void leave_one() {
    if (Rank* rank = some_rank()) rank->ask_to_leave();
  }

  void cease_faults() {
    world_.phase = World::Phase::kCalm;
    world_.note("---- the faults cease");
    for (const auto& [member, rank] : world_.ranks) {
      rank->resume();
      rank->slow_down(1);
    }
    world_.parted_until.clear();
    world_.starts_fail_until = world_.room_wanted_until = Time{};
  }

  Outcome outcome() {
    Outcome out;
    out.violations = world_.violations;
    out.trace_hash = world_.trace_hash;
    world_.coverage.n_events += world_.schedule.n_happened();
    world_.coverage.n_fenced += front_.coordinator().n_fenced();
    world_.coverage.n_operations += front_.coordinator().n_operations(cluster::Phase::kDone);
    world_.coverage.n_requests += front_.n_finished();
    if (out.violations.empty()) return out;
    out.report = fmt::format("seed {}, event {}: {}\n", world_.scenario.seed, world_.schedule.n_happened(),
                             out.violations[0]);
    for (const std::string& line : world_.trace) out.report += "  " + line + "\n";
    for (const auto& [member, rank] : world_.ranks) {
      if (rank->is_alive()) out.report += "  " + rank->describe() + "\n";
    }
    out.report += "  front: " + front_.describe() + "\n";
    return out;
  }

  World world_;
  Front front_;
  std::size_t n_to_come_ = 0;
};

}  // namespace

Outcome simulate(const Scenario& scenario, Coverage& coverage) {
  return Simulation(scenario, coverage).run();
}

}  // namespace concertina::sim
