#include "cluster/membership.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"

namespace concertina::cluster {

Membership::Joiners Membership::take_joiners(std::size_t n, int n_failed_starts) {
  Joiners joiners;
  for (const Up up : {Up::kYes, Up::kNo}) {
    for (auto& [id, rank] : ranks_) {
      if (joiners.all.size() == n || rank.state != RankState::kStandby || rank.up != up) continue;
      rank.state = RankState::kJoining;
      rank.n_failed_before = std::min(rank.n_failed_before, n_failed_starts);
      joiners.all.push_back(rank.member);
    }
  }
  for (RankId rank; joiners.all.size() < n; rank = rank.next()) {
    if (ranks_.contains(rank)) continue;
    CHECK(rank.value() < max_numbers_, "no free rank number below {}", max_numbers_);
    const Member joiner{rank, next_incarnation_};
    next_incarnation_ = next_incarnation_.next();
    ranks_[rank] = {.member = joiner, .n_failed_before = n_failed_starts};
    joiners.all.push_back(joiner);
    joiners.new_ones.push_back(joiner);
  }
  std::sort(joiners.all.begin(), joiners.all.end());
  return joiners;
}

bool Membership::has_numbers_for(std::size_t n_joiners) const {
  return ranks_.size() - standbys().size() + n_joiners <= max_numbers_;
}

std::vector<Member> Membership::standbys() const {
  std::vector<Member> found;
  for (const auto& [id, rank] : ranks_) {
    if (rank.state == RankState::kStandby) found.push_back(rank.member);
  }
  return found;
}

std::size_t Membership::n_standbys_up() const {
  return static_cast<std::size_t>(std::count_if(ranks_.begin(), ranks_.end(), [](const auto& entry) {
    return entry.second.state == RankState::kStandby && entry.second.up == Up::kYes;
  }));
}

bool Membership::say_hello(const Member& member) {
  if (find(member) == nullptr || at(member).up == Up::kYes) return false;
  get(member).up = Up::kYes;
  return true;
}

void Membership::set(const Member& member, RankState state) {
  CHECK(find(member) != nullptr, "rank {} is not there", member.rank);
  get(member).state = state;
}

void Membership::fence(const Member& member) {
  if (find(member) != nullptr) get(member).state = RankState::kFailed;
}

void Membership::tell_to_end(const Member& member, Time kill) {
  if (!is_fenced(member)) get(member).state = RankState::kLeaving;
  told_[member] = kill;
}

std::vector<Member> Membership::take_overdue(Time now) {
  std::vector<Member> overdue;
  for (auto& [member, kill] : told_) {
    if (now < kill) continue;
    kill = Time::max();
    overdue.push_back(member);
  }
  return overdue;
}

std::optional<Membership::Ended> Membership::end(const Member& member) {
  if (find(member) == nullptr) return std::nullopt;
  const Ended ended{at(member), told_.erase(member) != 0};
  ranks_.erase(member.rank);
  return ended;
}

const Membership::Rank* Membership::find(RankId rank) const {
  const auto found = ranks_.find(rank);
  return found == ranks_.end() ? nullptr : &found->second;
}

const Membership::Rank* Membership::find(const Member& member) const {
  const Rank* found = find(member.rank);
  return found != nullptr && found->member == member ? found : nullptr;
}

bool Membership::is_fenced(const Member& member) const {
  const Rank* found = find(member);
  return found == nullptr || found->state == RankState::kFailed;
}

std::vector<RankId> Membership::ending() const {
  std::vector<RankId> ending;
  for (const auto& [member, kill] : told_) ending.push_back(member.rank);
  for (const auto& [id, rank] : ranks_) {
    if (rank.state == RankState::kFailed && !told_.contains(rank.member)) ending.push_back(id);
  }
  return ending;
}

std::optional<Time> Membership::next_kill() const {
  std::optional<Time> next;
  for (const auto& [member, kill] : told_) {
    if (kill != Time::max() && (!next || kill < *next)) next = kill;
  }
  return next;
}

std::string Membership::check() const {
  for (const auto& [id, rank] : ranks_) {
    if (rank.member.rank != id) return fmt::format("rank {} is listed as {}", rank.member.rank, id);
    if (rank.member.incarnation >= next_incarnation_) return fmt::format("rank {} was never started", id);
  }
  for (const auto& [member, kill] : told_) {
    const Rank* rank = find(member);
    if (rank == nullptr) return fmt::format("rank {} was told to end and is not there", member.rank);
    if (rank->state != RankState::kLeaving && rank->state != RankState::kFailed)
      return fmt::format("rank {} was told to end and is {}", member.rank, name_of(rank->state));
  }
  return {};
}

}  // namespace concertina::cluster
