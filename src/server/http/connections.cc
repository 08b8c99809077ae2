#include "server/http/connections.h"

#include "server/http/session.h"

namespace concertina::server::http {

Admission admit(const Limits& limits, std::size_t n_open, std::size_t n_waiting, Peer peer) {
  const std::size_t n_kept =
      peer == Peer::kLoopback ? 0 : std::min(limits.kept_for_loopback, limits.max_connections / 2);
  if (n_open + n_kept < limits.max_connections) return Admission::kAdmit;
  return n_waiting > 0 ? Admission::kReplaceWaiting : Admission::kRefuse;
}

void Connections::add(std::shared_ptr<Session> session) {
  Session* const key = session.get();
  open_.emplace(key, Entry{std::move(session), waiting_.end()});
}

void Connections::remove(Session& session) {
  serve(session);
  open_.erase(&session);
}

void Connections::wait(Session& session) {
  serve(session);
  const auto found = open_.find(&session);
  if (found != open_.end()) found->second.waiting = waiting_.insert(waiting_.end(), &session);
}

void Connections::serve(Session& session) {
  const auto found = open_.find(&session);
  if (found == open_.end() || found->second.waiting == waiting_.end()) return;
  waiting_.erase(found->second.waiting);
  found->second.waiting = waiting_.end();
}

}  // namespace concertina::server::http
