#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "launcher/rank_process.h"
#include "transport/event_loop.h"

namespace concertina::launcher {

enum class LauncherError { kSystem };

// What ranks run. `path` is what is executed, `name` what `ps` shows; empty: the path.
struct Binary {
  std::filesystem::path path;
  std::string name;
};

// A worker process on this machine: started, watched, reaped. The front's thread. It dies with the front,
// also when that is killed: the worker asks for SIGKILL at its parent's death (which follows the thread that
// started it: the front has one, for its whole life), and its control channel closes.
class LocalProcess : public RankProcess {
 public:
  using Cores = std::shared_ptr<const std::vector<int>>;  // let go of when it was reaped

  // Runs `binary.path worker --control-fd 3`. `on_exit` comes once, after it was reaped.
  static Result<std::unique_ptr<LocalProcess>> start(transport::EventLoop& loop, const Binary& binary,
                                                     Cores cores, OnExit on_exit);
  ~LocalProcess() override;  // kills and reaps it if it still runs
  LocalProcess(const LocalProcess&) = delete;
  LocalProcess& operator=(const LocalProcess&) = delete;

  pid_t pid() const override { return pid_; }
  int take_control_fd() override;
  std::vector<int> cores() const override { return cores_ == nullptr ? std::vector<int>{} : *cores_; }
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
  Cores cores_;
  OnExit on_exit_;
  transport::EventLoop* loop_ = nullptr;
  std::unique_ptr<transport::ReadableWatch> watch_;
};

}  // namespace concertina::launcher
