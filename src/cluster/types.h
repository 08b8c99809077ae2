#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/time.h"

namespace concertina::cluster {

// A rank as the others address it: its number and which start of its process is meant.
struct Member {
  RankId rank;
  Incarnation incarnation;
  auto operator<=>(const Member&) const = default;
};

// Where a rank is reached, as its own link says it and links of the same kind read it (exchange/link.h). Who
// passes it on does not look into the bytes.
enum class LinkKind : std::uint32_t { kNone = 0, kSharedMemory = 1 };
struct LinkAddress {
  LinkKind kind = LinkKind::kNone;
  std::string bytes;
  bool operator==(const LinkAddress&) const = default;
};

// For each MoE layer (0-based among MoE layers, not among decoder layers) and rank: the experts in its slots,
// ascending. An expert may have several replicas.
struct Placement {
  std::vector<std::map<RankId, std::vector<ExpertId>>> layers;
  bool operator==(const Placement&) const = default;
};

// Immutable once published.
struct EpochPlan {
  Epoch epoch;
  std::vector<Member> members;  // ascending by rank
  Placement placement;
  std::vector<Member>
      leavers;  // members of the epoch before that this one lacks; they host nothing in it. Ascending
  bool operator==(const EpochPlan&) const = default;
};

enum class OperationKind : std::uint8_t { kScale, kReplace, kRecover };
enum class Phase : std::uint8_t {
  kPlanning,
  kPreparing,
  kReady,
  kCommitting,
  kReleasing,
  kRecovering,
  kDone,
  kFailed,
  kRolledBack
};
const char* name_of(OperationKind kind);  // "scale"
const char* name_of(Phase phase);         // "rolled_back"
inline bool is_final(Phase phase) { return phase >= Phase::kDone; }

// The durable record of an operation; what GET /operations/{id} shows.
struct Operation {
  std::string id;
  OperationKind kind = OperationKind::kScale;
  std::size_t from_size = 0, to_size = 0;
  Phase phase = Phase::kPlanning;
  Time started{};
  Time deadline{};  // drain_timeout: rolled back if not committed by then
  std::vector<std::pair<Phase, Duration>>
      phase_times;  // finished phases, in order; a replace passes some twice: added up
  std::uint64_t moved_requests = 0, moved_bytes = 0;
  double max_pause_ms = 0;
  std::optional<std::string> error;
  enum class Failure : std::uint8_t { kNone, kTimeout, kRankFailed, kShutDown } failure = Failure::kNone;
  bool operator==(const Operation&) const = default;
};

enum class RankState : std::uint8_t { kJoining, kActive, kLeaving, kStandby, kFailed };
const char* name_of(RankState state);

}  // namespace concertina::cluster
