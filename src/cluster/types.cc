#include "cluster/types.h"

namespace concertina::cluster {

const char* name_of(OperationKind kind) {
  switch (kind) {
    case OperationKind::kScale:
      return "scale";
    case OperationKind::kReplace:
      return "replace";
    case OperationKind::kRecover:
      return "recover";
  }
  return "unknown";
}

const char* name_of(Phase phase) {
  switch (phase) {
    case Phase::kPlanning:
      return "planning";
    case Phase::kPreparing:
      return "preparing";
    case Phase::kReady:
      return "ready";
    case Phase::kCommitting:
      return "committing";
    case Phase::kReleasing:
      return "releasing";
    case Phase::kRecovering:
      return "recovering";
    case Phase::kDone:
      return "done";
    case Phase::kFailed:
      return "failed";
    case Phase::kRolledBack:
      return "rolled_back";
  }
  return "unknown";
}

const char* name_of(RankState state) {
  switch (state) {
    case RankState::kJoining:
      return "joining";
    case RankState::kActive:
      return "active";
    case RankState::kLeaving:
      return "leaving";
    case RankState::kStandby:
      return "standby";
    case RankState::kFailed:
      return "failed";
  }
  return "unknown";
}

}  // namespace concertina::cluster
