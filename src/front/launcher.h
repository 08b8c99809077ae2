#pragma once

#include <sys/types.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "base/result.h"
#include "deployment/ending.h"
#include "front/service.h"
#include "transport/event_loop.h"

namespace concertina::front {

// What ranks run. `path` is what is executed, `name` what `ps` shows; empty: the path.
struct RankBinary {
  std::filesystem::path path;
  std::string name;
};

// The very file that this process runs, whatever lies at its path by now, and also if nothing does: a child
// still has this process's /proc/self/exe when it executes another.
Result<RankBinary> own_binary();

// A rank's process, started and not reaped yet. The front's thread.
class RankProcess {
 public:
  using OnExit = std::function<void(const deployment::Ending&)>;  // once, after it was reaped
  virtual ~RankProcess() = default;
  virtual pid_t pid() const = 0;
  virtual int take_control_fd() = 0;   // our end of its control channel; once; the taker owns it
  virtual void kill() = 0;             // SIGKILL; on_exit follows
  virtual bool has_ended() const = 0;  // and is not reaped yet: on_exit follows, in another turn
  // As /proc/PID/stat has it: R, S, D, T, t, Z; R too if its main thread sleeps and another one runs. 0:
  // unknown.
  virtual char state() const = 0;
};
using StartProcess = std::function<Result<std::unique_ptr<RankProcess>>(RankProcess::OnExit on_exit)>;

// A worker process on this machine: started, watched, reaped. The front's thread. It dies with the front,
// also when that is killed: the worker asks for SIGKILL at its parent's death (which follows the thread that
// started it: the front has one, for its whole life), and its control channel closes.
class LocalProcess : public RankProcess {
 public:
  // Runs `binary.path worker --control-fd 3`. `on_exit` comes once, after it was reaped.
  static Result<std::unique_ptr<LocalProcess>> start(transport::EventLoop& loop, const RankBinary& binary,
                                                     OnExit on_exit);
  ~LocalProcess() override;  // kills and reaps it if it still runs
  LocalProcess(const LocalProcess&) = delete;
  LocalProcess& operator=(const LocalProcess&) = delete;

  pid_t pid() const override { return pid_; }
  int take_control_fd() override;
  void kill() override;
  bool has_ended() const override;
  char state() const override;

 private:
  LocalProcess() = default;
  void watch();
  void reap();

  pid_t pid_ = -1;
  int pid_fd_ = -1, control_fd_ = -1;
  bool reaped_ = false;
  OnExit on_exit_;
  transport::EventLoop* loop_ = nullptr;
  std::unique_ptr<transport::ReadableWatch> watch_;
};

}  // namespace concertina::front
