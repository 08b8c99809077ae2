#pragma once

#include <set>
#include <string>
#include <vector>

#include "cluster/types.h"

namespace concertina::cluster {

// One change of the epoch under way. Bootstrap is one from no epoch with joiners only; a replace is two, one
// by one. A value; its stages follow each other in the order of `Stage`, and kCancelling is reached from the
// first two alone.
struct EpochChange {
  enum class Stage : std::uint8_t {
    kStarting,    // joiners start: awaits their hello
    kPreparing,   // awaits RankPrepared of everyone; and the drain
    kCommitting,  // COMMIT was sent, no way back: awaits RankFlipped of everyone
    kReleasing,   // leavers were released: awaits their exit
    kCancelling,  // joiners were killed: awaits their exit
  };
  enum class Drain : std::uint8_t { kNotNeeded, kPending, kDone };

  Stage stage = Stage::kStarting;
  Drain drain = Drain::kNotNeeded;
  EpochPlan plan;
  std::vector<Member> joiners;
  std::vector<Member> everyone;  // members of both epochs, ascending: whoever takes part
  std::set<Member> awaited;      // whose answer of this stage is missing

  bool is_cancellable() const { return stage == Stage::kStarting || stage == Stage::kPreparing; }
  bool takes_part(const Member& member) const;
  bool is_joiner(const Member& member) const;
  bool answer(const Member& member) { return awaited.erase(member) != 0; }  // false: nobody waits for it
  bool drained(Epoch of);                                                   // false: of another drain
  bool is_ready() const;          // all are prepared and drained: COMMIT may be sent
  std::string waits_for() const;  // "ranks 2, 3 to prepare epoch 6"
  std::string check() const;      // what is not as it must always be; empty: nothing
};

// Ranks were lost: those left freeze, prepare an epoch of their own and enter it (rules 6 to 8). A value.
struct Recovery {
  Ballot ballot;
  std::vector<Member> survivors;  // everybody left of the epochs concerned, ascending: all freeze
  EpochPlan plan;                 // of those that go on; the others of them leave
  std::set<Member> unfrozen, unprepared;
  Time freeze_deadline{};
  Placement placement;  // that the survivors hold
  // kWanted: those left are too few for the weights. They stay frozen; joiners are brought by a change beside
  // this, whose epoch all enter together (rule 17). Then `plan` has no epoch.
  enum class Room : std::uint8_t { kEnough, kWanted } room = Room::kEnough;
  std::string want;  // who said so

  bool wants_room() const { return room == Room::kWanted; }
  bool is_complete() const { return !wants_room() && unfrozen.empty() && unprepared.empty(); }
  bool frozen(const Member& member, Ballot for_ballot) {  // false: nobody waits for it
    return for_ballot == ballot && unfrozen.erase(member) != 0;
  }
  void want_room(const std::string& who_says);
  std::string waits_for() const;
  std::string check() const;
};

// "rank 3", "ranks 1, 3": how messages name them.
std::string name_ranks(const std::vector<RankId>& ranks);
template <typename Members>
std::vector<RankId> ranks_of(const Members& members) {
  std::vector<RankId> ranks;
  for (const Member& member : members) ranks.push_back(member.rank);
  return ranks;
}
template <typename Members>
std::string name_ranks(const Members& members) {
  return name_ranks(ranks_of(members));
}

}  // namespace concertina::cluster
