#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <unordered_map>

#include "server/http/message.h"

namespace concertina::server::http {

class Session;

enum class Peer : std::uint8_t { kLoopback, kElsewhere };
enum class Admission : std::uint8_t { kAdmit, kReplaceWaiting, kRefuse };
// May one more connection be served? The last few places are for loopback, so that who runs the server can
// reach it; at the limit one that waits without a request gives way.
Admission admit(const Limits& limits, std::size_t n_open, std::size_t n_waiting, Peer peer);

// The connections of a server: owns their sessions, and knows which wait for a request, the longest first.
class Connections {
 public:
  void add(std::shared_ptr<Session> session);
  void remove(Session& session);
  void wait(Session& session);  // has no whole request: its time counts from now
  void serve(Session& session);
  Session* longest_waiting() const { return waiting_.empty() ? nullptr : waiting_.front(); }
  Session* any() const { return open_.empty() ? nullptr : open_.begin()->first; }
  std::size_t n_open() const { return open_.size(); }
  std::size_t n_waiting() const { return waiting_.size(); }

 private:
  struct Entry {
    std::shared_ptr<Session> session;
    std::list<Session*>::iterator waiting;
  };
  std::unordered_map<Session*, Entry> open_;
  std::list<Session*> waiting_;
};

}  // namespace concertina::server::http
