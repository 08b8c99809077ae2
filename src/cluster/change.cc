#include "cluster/change.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace concertina::cluster {

namespace {
bool contains(const std::vector<Member>& members, const Member& member) {
  return std::find(members.begin(), members.end(), member) != members.end();
}
}  // namespace

std::string name_ranks(const std::vector<RankId>& ranks) {
  return fmt::format("{} {}", ranks.size() == 1 ? "rank" : "ranks", fmt::join(ranks, ", "));
}

bool EpochChange::takes_part(const Member& member) const { return contains(everyone, member); }
bool EpochChange::is_joiner(const Member& member) const { return contains(joiners, member); }

bool EpochChange::drained(Epoch of) {
  if (!is_cancellable() || drain != Drain::kPending || plan.epoch != of) return false;
  drain = Drain::kDone;
  return true;
}

bool EpochChange::is_ready() const {
  return stage == Stage::kPreparing && awaited.empty() && drain != Drain::kPending;
}

std::string EpochChange::waits_for() const {
  const std::string who = awaited.empty() ? "" : name_ranks(awaited);
  switch (stage) {
    case Stage::kStarting:
      return who + " to start";
    case Stage::kCommitting:
      return fmt::format("{} to flip into epoch {}", who, plan.epoch);
    case Stage::kReleasing:
    case Stage::kCancelling:
      return who + " to end";
    case Stage::kPreparing:
      break;
  }
  std::string text = who.empty() ? "" : fmt::format("{} to prepare epoch {}", who, plan.epoch);
  if (drain == Drain::kPending)
    text += fmt::format("{}the requests of {} to move", text.empty() ? "" : ", and for ",
                        name_ranks(plan.leavers));
  return text;
}

std::string EpochChange::check() const {
  if ((drain == Drain::kNotNeeded) != plan.leavers.empty())
    return "a change drains where ranks leave, and only there";
  if (!joiners.empty() && !plan.leavers.empty()) return "a change grows or shrinks";
  for (const Member& member : plan.members) {
    if (!takes_part(member)) return fmt::format("rank {} is a member and takes no part", member.rank);
  }
  for (const Member& member : awaited) {
    if (!takes_part(member)) return fmt::format("rank {} is awaited and takes no part", member.rank);
  }
  if (stage == Stage::kReleasing && plan.leavers.empty()) return "nobody is to be released";
  if ((stage == Stage::kCommitting || stage == Stage::kReleasing) && drain == Drain::kPending)
    return "COMMIT was sent before the drain was over";
  return {};
}

void Recovery::want_room(const std::string& who_says) {
  room = Room::kWanted;
  want = who_says;
  plan.epoch = Epoch{};
  unprepared.clear();
}

std::string Recovery::waits_for() const {
  std::string text = unfrozen.empty() ? "" : name_ranks(unfrozen) + " to freeze";
  const auto add = [&text](const std::string& what) { text += (text.empty() ? "" : ", and for ") + what; };
  if (!unprepared.empty()) add(fmt::format("{} to prepare epoch {}", name_ranks(unprepared), plan.epoch));
  if (wants_room()) add(fmt::format("room for the weights ({})", want));
  return text;
}

std::string Recovery::check() const {
  if (wants_room() != (plan.epoch == Epoch{}))
    return "a recovery has an epoch where there is room, and only there";
  if (wants_room() && !unprepared.empty()) return "what has no room is not prepared";
  for (const std::set<Member>* awaited : {&unfrozen, &unprepared}) {
    for (const Member& member : *awaited) {
      if (!contains(survivors, member)) return fmt::format("rank {} is awaited and no survivor", member.rank);
    }
  }
  if (ballot == Ballot{}) return "a recovery has a ballot";
  return {};
}

}  // namespace concertina::cluster
