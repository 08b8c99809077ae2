#pragma once

#include "cluster/coordinator.h"

namespace concertina::cluster {

// Sees every event and decision of a coordinator as it is made: for the simulator, which checks rules.
class Observer {
 public:
  virtual ~Observer() = default;
  virtual void after_bootstrap(const Actions& actions, const Coordinator& coordinator) = 0;
  virtual void after_request(const ScaleRequested& request, const Result<Coordinator::ScaleReply>& reply,
                             const Coordinator& coordinator) = 0;
  virtual void after_event(const Event& event, const Actions& actions, const Coordinator& coordinator) = 0;
};

}  // namespace concertina::cluster
