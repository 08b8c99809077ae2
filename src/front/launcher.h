#pragma once

#include <sys/types.h>

#include <filesystem>
#include <functional>
#include <memory>

#include "base/result.h"
#include "front/ending.h"
#include "front/service.h"
#include "transport/event_loop.h"

namespace concertina::front {

// A worker process on this machine: started, watched, reaped. The front's thread. It dies with the front,
// also when that is killed: the worker asks for SIGKILL at its parent's death (which follows the thread that
// started it: the front has one, for its whole life), and its control channel closes.
class LocalProcess {
 public:
  // Runs `binary worker --control-fd 3`. `on_exit` comes once, after it was reaped.
  static Result<std::unique_ptr<LocalProcess>> start(transport::EventLoop& loop,
                                                     const std::filesystem::path& binary,
                                                     std::function<void(const Ending&)> on_exit);
  ~LocalProcess();  // kills and reaps it if it still runs
  LocalProcess(const LocalProcess&) = delete;
  LocalProcess& operator=(const LocalProcess&) = delete;

  pid_t pid() const { return pid_; }
  int take_control_fd();  // our end of its control channel; once; the taker owns it
  void kill();            // SIGKILL; on_exit follows

 private:
  LocalProcess() = default;
  void watch();
  void reap();

  pid_t pid_ = -1;
  int pid_fd_ = -1, control_fd_ = -1;
  bool reaped_ = false;
  std::function<void(const Ending&)> on_exit_;
  transport::EventLoop* loop_ = nullptr;
  std::unique_ptr<transport::ReadableWatch> watch_;
};

}  // namespace concertina::front
