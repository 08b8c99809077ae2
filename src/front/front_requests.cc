#include "base/log.h"
#include "front/frames.h"
#include "front/front.h"
#include "transport/control_channel.h"

namespace concertina::front {

void Front::execute(const JournalActions& actions) {
  for (const JournalAction& action : actions) {
    if (const auto* assign = std::get_if<SendAssign>(&action)) {
      // A listener called for an earlier action may have cancelled this request meanwhile.
      const scheduler::Request* request = journal_.find(assign->request);
      if (request != nullptr) send(assign->to, assign_frame(*request, assign->attempt, assign->mode));
    } else if (const auto* feed = std::get_if<SendFeed>(&action)) {
      send(feed->to, feed_frame(feed->request, feed->token));
    } else if (const auto* take_over = std::get_if<SendTakeOver>(&action)) {
      const scheduler::Request* request = journal_.find(take_over->request);
      if (request != nullptr) send(take_over->to, take_over_frame(*request, take_over->attempt));
    } else if (const auto* drop = std::get_if<SendDrop>(&action)) {
      send(drop->to, drop_frame(drop->request));
    } else if (const auto* token = std::get_if<EmitToken>(&action)) {
      const auto listener = listeners_.find(token->request);
      if (listener != listeners_.end())
        listener->second->on_tokens(token->request, std::span(&token->token, 1));
    } else if (const auto* finished = std::get_if<EmitFinished>(&action)) {
      const auto listener = listeners_.extract(finished->request);
      if (!listener.empty()) listener.mapped()->on_finished(finished->request, finished->reason);
    } else if (const auto* failed = std::get_if<EmitFailed>(&action)) {
      spdlog::error("request {}: {}", failed->request, failed->why);
      const auto listener = listeners_.extract(failed->request);
      if (!listener.empty())
        listener.mapped()->on_failed(failed->request, Error(FrontError::kRankCrashes, failed->why));
    } else if (const auto* drained = std::get_if<Drained>(&action)) {
      handle(cluster::LeaversDrained{drained->n_moved});
    }
  }
}

void Front::fail_all_requests(const Error& error) {
  JournalActions actions;
  for (const RequestId request : journal_.live_requests()) journal_.cancel(request, actions);
  execute(actions);  // ranks that live drop them
  // One by one: an answer of several choices ends with the first of them and cancels its others, whose
  // listener is gone then.
  while (!listeners_.empty()) {
    const auto next = listeners_.extract(listeners_.begin());
    next.mapped()->on_failed(next.key(), error);
  }
}

}  // namespace concertina::front
