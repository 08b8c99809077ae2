#pragma once

#include <array>
#include <map>
#include <string>

#include "cluster/observer.h"

namespace concertina::sim {

// What becomes of copies of KV between ranks.
enum class CopyCase : std::uint8_t {
  kNoRoom,
  kNotMapped,
  kBegun,
  kFromTheDead,
  kSourceEnded,
  kTakenOver,
  kDropped,
  kFrozen,
  kNoRecord,
  kReused,
  kCopied,
  kDecidedAtOnce,
  kCountsByStep,
  kCountsByEnd,
  kDistrusted,
  kGivenUp,
};
inline constexpr std::size_t kCopyCases = static_cast<std::size_t>(CopyCase::kGivenUp) + 1;
const char* name_of(CopyCase what);

// What happened in all the runs that were given it: sums, and how often the coordinator met each kind of
// event in each of its states, and whether it acted.
class Coverage : public cluster::Observer {
 public:
  std::uint64_t n_events = 0, n_steps = 0, n_void_steps = 0, n_tokens = 0, n_requests = 0;
  std::uint64_t n_operations = 0, n_killed = 0, n_stopped = 0, n_fenced = 0;

  void after_bootstrap(const cluster::Actions&, const cluster::Coordinator& coordinator) override {
    state_ = coordinator.state_name();
  }
  void after_request(const cluster::ScaleRequested&, const Result<cluster::Coordinator::ScaleReply>&,
                     const cluster::Coordinator& coordinator) override {
    state_ = coordinator.state_name();
  }
  void after_event(const cluster::Event& event, const cluster::Actions& actions,
                   const cluster::Coordinator& coordinator) override;
  void note(CopyCase what) { ++copies_[static_cast<std::size_t>(what)]; }
  std::string table() const;  // states by events; what never happened is listed below it; then copies of KV

 private:
  struct Count {
    std::uint64_t n = 0, n_acted = 0;
  };
  std::string state_;  // of the coordinator, before the next event
  std::map<std::pair<std::string, std::string>, Count> counts_;
  std::array<std::uint64_t, kCopyCases> copies_{};
};

}  // namespace concertina::sim
