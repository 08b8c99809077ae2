#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <vector>

#include "base/result.h"
#include "deployment/ending.h"

namespace concertina::launcher {

// A rank's process, started and not reaped yet. The front's thread.
class RankProcess {
 public:
  using OnExit = std::function<void(const deployment::Ending&)>;  // once, after it was reaped
  virtual ~RankProcess() = default;
  virtual pid_t pid() const = 0;
  virtual int take_control_fd() = 0;           // our end of its control channel; once; the taker owns it
  virtual std::vector<int> cores() const = 0;  // of its compute threads; empty: any
  virtual void kill() = 0;                     // SIGKILL; on_exit follows
  virtual bool has_ended() const = 0;          // and is not reaped yet: on_exit follows, in another turn
  // As /proc/PID/stat has it: R, S, D, T, t, Z; R too if its main thread sleeps and another one runs. 0:
  // unknown.
  virtual char state() const = 0;
};
using StartProcess = std::function<Result<std::unique_ptr<RankProcess>>(RankProcess::OnExit on_exit)>;

}  // namespace concertina::launcher
