#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>

#include "base/function_ref.h"
#include "base/result.h"
#include "base/time.h"
#include "cluster/types.h"
#include "exchange/protocol/group.h"
#include "transport/wait_result.h"

namespace concertina::exchange {

using cluster::LinkAddress;
using cluster::LinkKind;

struct MemberAddress {
  cluster::Member member;
  LinkAddress address;
};

// How a rank and its peers reach one another: it moves headers, and rows if it can, and wakes. It decides
// nothing; StepProtocol does. Peers may be reached in different ways; the rank has one place to wait.
class Link {
 public:
  enum class Carries : std::uint8_t {
    kHeaders,         // rows go another way: over a bus between devices
    kHeadersAndRows,  // a rank writes rows into its own body, and its peers read them in theirs of it
  };

  virtual ~Link() = default;
  virtual Carries carries() const = 0;

  // ---- Any thread.
  virtual LinkAddress address() const = 0;  // what peers connect to

  // A peer that is connected already is the same one. Fails with kBadAddress, or as the link does.
  virtual Result<std::shared_ptr<const PeerLink>> connect(const MemberAddress& peer) = 0;

  virtual void ring() const = 0;  // wakes this rank's own step thread, after the cause was made visible

  // ---- Step thread.
  virtual std::byte* body() const = 0;  // this rank's own; null where a link carries headers alone

  // Returns kReady once ready() is true, which wins over both others; it is called by this thread alone,
  // often, and at least after every publish() of a peer. kDeadline at `deadline` (none: never), kAborted once
  // `abort` is true (set it, then ring).
  virtual transport::WaitResult wait(FunctionRef<bool()> ready, std::optional<Time> deadline,
                                     const std::atomic<bool>& abort) const = 0;
};

}  // namespace concertina::exchange
