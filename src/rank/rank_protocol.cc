#include "rank/rank_protocol.h"

namespace concertina::rank {

void RankProtocol::on(const cluster::CancelPrepare& message, Time, Actions& actions) {
  if (prepared_.erase(message.epoch) > 0) actions.push_back(DiscardEpoch{message.epoch});
}

// Rule 4: ignored unless this rank is in `from`; held from now on, and carried by the next step that starts.
void RankProtocol::on(const cluster::Commit& message, Time, Actions&) {
  const bool counts = !is_frozen() && is_member_ && epoch_ == message.from && prepared_.contains(message.to);
  if (counts || breaks(Broken::kLateCommit)) commit_ = message;
}

void RankProtocol::on(const cluster::Enter& message, Time now, Actions& actions) {
  if (message.ballot != frozen_) return;              // of an earlier try of a recovery
  if (is_member_ && epoch_ >= message.epoch) return;  // a peer's header was here first
  if (!prepared_.contains(message.epoch)) return;
  enter(message.epoch, is_frozen() ? frozen_since_ : now, actions);
  frozen_ = Ballot{};
}

// Rule 6. The step under way, if any, was given up before. What it computed is void; the tokens of all steps
// before it are on their way to the front, ahead of the answer.
void RankProtocol::on(const cluster::Freeze& message, Time now, Actions& actions) {
  if (message.ballot <= frozen_) return;
  if (!is_frozen()) frozen_since_ = now;
  frozen_ = message.ballot;
  is_void_ = true;
  forget_commit();
  actions.push_back(Freeze{{self_, frozen_}});
}

std::optional<Epoch> RankProtocol::joinable() const {
  const bool is_joiner = !is_member_ && !is_frozen() && !prepared_.empty();
  if (!is_joiner || prepared_.rbegin()->second == Place::kLeaver) return std::nullopt;
  return prepared_.rbegin()->first;
}

RankProtocol::Next RankProtocol::next(Sight& sight, Actions& actions) {
  if (is_released_) return Next::kLeave;
  if (is_frozen()) return Next::kWait;
  if (!is_member_) {  // rule 11: a joiner waits for ENTER, or for a header of the epoch that it is prepared
                      // for
    const auto epoch = joinable();
    if (!epoch || !sight.peer_started_epoch(*epoch)) return Next::kWait;
    enter(*epoch, sight.now(), actions);
    return Next::kEnter;
  }
  if (is_void_) return Next::kWait;
  // Who holds a commit that it has not carried yet has work, an empty step if need be.
  return sight.has_plan() || commit_ || sight.peer_started_step() ? Next::kStep : Next::kWait;
}

void RankProtocol::commit_step(std::optional<Epoch> flip, Time now, Actions& actions) {
  if (breaks(Broken::kFlipWithoutAllFlags) && commit_) flip = commit_->to;
  actions.push_back(CommitPlan{});  // its tokens go ahead of the answer to whatever comes next
  if (flip) enter(*flip, now, actions);
}

// Rule 7: what is not committed is void, whatever its peers did.
void RankProtocol::void_step(Actions& actions) {
  is_void_ = true;
  if (breaks(Broken::kJournalBeforeCommit)) actions.push_back(CommitPlan{});
}

void RankProtocol::enter(Epoch epoch, Time since, Actions& actions) {
  forget_commit();
  const auto place = prepared_.find(epoch);
  is_member_ = place == prepared_.end() || place->second == Place::kMember;
  for (auto older = prepared_.begin(); older != prepared_.end() && older->first < epoch;) {
    actions.push_back(DiscardEpoch{older->first});  // of a change that was given up
    older = prepared_.erase(older);
  }
  prepared_.erase(epoch);
  epoch_ = epoch;
  is_void_ = false;
  actions.push_back(EnterEpoch{epoch, since});
}

}  // namespace concertina::rank
