#pragma once

namespace concertina::cluster {

enum class ClusterError {
  kInvalidSize,
  kInvalidRetire,
  kOperationRunning,
  kIdTaken,
  kNotReady,
  kShuttingDown
};

}  // namespace concertina::cluster
