#pragma once

#include <map>
#include <optional>
#include <vector>

#include "cluster/types.h"

namespace concertina::cluster {

// Which processes there are, from their start until they are reaped: their numbers, what they are to the
// group, who is up, and who was told to end. A value. Always: one process a number; incarnations only count
// up; who was told to end leaves or is fenced, and nothing brings it back.
class Membership {
 public:
  enum class Up : std::uint8_t { kNo, kYes };  // it said hello
  struct Rank {
    Member member;
    RankState state = RankState::kJoining;
    Up up = Up::kNo;
    int n_failed_before = 0;  // starts that had failed when this one was made
  };

  Membership(Incarnation first_incarnation, std::size_t max_numbers)
      : next_incarnation_(first_incarnation), max_numbers_(max_numbers) {}

  // ---- Who joins.
  struct Joiners {
    std::vector<Member> all;  // ascending
    std::vector<Member> new_ones;
  };
  // Standbys first, those that are up before the others; then new ones with the lowest free numbers.
  Joiners take_joiners(std::size_t n, int n_failed_starts);
  // A number stays taken until its process was reaped, which for a fenced rank may be a while.
  bool has_numbers_for(std::size_t n_joiners) const;
  std::size_t n_standbys_up() const;
  std::vector<Member> standbys() const;

  // ---- What becomes of a rank.
  bool say_hello(const Member& member);  // false: it is not there, or said it before
  void set(const Member& member, RankState state);
  void fence(const Member& member);                   // if it is there
  void tell_to_end(const Member& member, Time kill);  // released, or killed: to be killed (again) then
  std::vector<Member> take_overdue(Time now);         // told to end, and to be killed now; once
  struct Ended {
    Rank rank;
    bool was_told = false;
  };
  std::optional<Ended> end(const Member& member);  // it was reaped; none: it is not there

  // ---- Who is there.
  const Rank* find(const Member& member) const;
  const Rank* find(RankId rank) const;
  const Rank& at(const Member& member) const { return ranks_.at(member.rank); }
  bool is_fenced(const Member& member) const;  // or gone
  bool is_told(const Member& member) const { return told_.contains(member); }
  bool awaits_end() const { return !told_.empty(); }
  std::vector<RankId> ending() const;  // told to end or fenced, and not reaped
  std::optional<Time> next_kill() const;
  std::size_t size() const { return ranks_.size(); }
  const std::map<RankId, Rank>& all() const { return ranks_; }

  std::string check() const;  // what is not as it must always be; empty: nothing

 private:
  Rank& get(const Member& member) { return ranks_.at(member.rank); }

  Incarnation next_incarnation_;
  std::size_t max_numbers_;
  std::map<RankId, Rank> ranks_;  // started and not yet reaped
  std::map<Member, Time> told_;   // to end: when to kill (again); Time::max(): it was killed
};

}  // namespace concertina::cluster
