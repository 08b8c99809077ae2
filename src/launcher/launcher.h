#pragma once

#include <memory>
#include <vector>

#include "launcher/local_process.h"

namespace concertina::launcher {

// The very file that this process runs, whatever lies at its path by now, and also if nothing does: a child
// still has this process's /proc/self/exe when it executes another.
Result<Binary> own_binary();

// Starts workers of one binary on this machine. The front's thread.
class Launcher {
 public:
  struct Options {
    Binary binary;
    std::size_t cores_per_rank = 0;  // of its own, while there are cores that no other rank has
  };
  Launcher(transport::EventLoop& loop, Options options) : loop_(loop), options_(std::move(options)) {}

  Result<std::unique_ptr<RankProcess>> start(RankProcess::OnExit on_exit);

 private:
  transport::EventLoop& loop_;
  const Options options_;
  std::vector<std::weak_ptr<const std::vector<int>>> taken_;  // by processes that are not reaped
};

}  // namespace concertina::launcher
