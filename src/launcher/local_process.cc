#include "launcher/local_process.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fstream>

#include "base/check.h"
#include "launcher/exit_status.h"

namespace concertina::launcher {

namespace {

constexpr int kWorkerControlFd = 3;

// Of /proc/.../stat: the letter after the name, which may hold anything but ends at the last bracket.
char state_in(const std::filesystem::path& stat) {
  std::ifstream file(stat);
  const std::string text(std::istreambuf_iterator<char>(file), {});
  const std::size_t end = text.rfind(')');
  return end == text.npos || end + 2 >= text.size() ? '\0' : text[end + 2];
}

// posix_spawn, not fork: it does not copy the front's page tables, however many streams it holds.
Result<pid_t> spawn(const Binary& binary, int control_fd) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_init(&actions);
  posix_spawnattr_init(&attributes);
  posix_spawn_file_actions_adddup2(&actions, control_fd, kWorkerControlFd);
  posix_spawn_file_actions_addclosefrom_np(&actions,
                                           kWorkerControlFd + 1);  // Asio's sockets are not close-on-exec
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
  const std::string path = binary.path.string(), name = binary.name.empty() ? path : binary.name,
                    fd = std::to_string(kWorkerControlFd), parent = std::to_string(getpid());
  const std::array<const char*, 7> arguments{name.c_str(),   "worker",       "--control-fd", fd.c_str(),
                                             "--parent-pid", parent.c_str(), nullptr};
  pid_t pid = -1;
  const int error =
      posix_spawn(&pid, path.c_str(), &actions, &attributes, const_cast<char**>(arguments.data()), environ);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (error != 0)
    return fail(LauncherError::kSystem, fmt::format("cannot start {} ({}): {}", name, path, strerror(error)));
  return pid;
}

}  // namespace

Result<std::unique_ptr<LocalProcess>> LocalProcess::start(transport::EventLoop& loop, const Binary& binary,
                                                          Cores cores, OnExit on_exit) {
  std::array<int, 2> ends{};
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    return fail(LauncherError::kSystem, fmt::format("cannot make a control channel: {}", strerror(errno)));
  }
  // dup2 onto the same number would keep close-on-exec: move the worker's end out of the way first.
  const int worker_end = fcntl(ends[1], F_DUPFD_CLOEXEC, 10);
  close(ends[1]);
  auto pid = spawn(binary, worker_end);
  close(worker_end);
  if (!pid) {
    close(ends[0]);
    return fail(pid.error());
  }
  std::unique_ptr<LocalProcess> process(new LocalProcess);
  process->pid_ = *pid;
  process->control_fd_ = ends[0];
  process->cores_ = std::move(cores);
  process->on_exit_ = std::move(on_exit);
  process->pid_fd_ = static_cast<int>(syscall(SYS_pidfd_open, *pid, 0));
  CHECK(process->pid_fd_ >= 0, "pidfd_open of our own child {}: {}", *pid, strerror(errno));
  process->loop_ = &loop;
  process->watch();
  return process;
}

LocalProcess::~LocalProcess() {
  watch_.reset();
  if (control_fd_ >= 0) close(control_fd_);
  if (!reaped_ && pid_ > 0) {
    ::kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, WNOHANG);  // a frozen one would not end: whoever adopts it reaps it
  }
  if (pid_fd_ >= 0) close(pid_fd_);
}

int LocalProcess::take_control_fd() { return std::exchange(control_fd_, -1); }

void LocalProcess::kill() {
  if (!reaped_) ::kill(pid_, SIGKILL);
}

bool LocalProcess::has_ended() const {
  siginfo_t info{};
  return !reaped_ && waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
         info.si_pid == pid_;
}

char LocalProcess::state() const {
  const std::filesystem::path folder = fmt::format("/proc/{}", pid_);
  const char own = state_in(folder / "stat");
  if (own != 'S') return own;
  std::error_code ignored;
  for (const auto& task : std::filesystem::directory_iterator(folder / "task", ignored)) {
    if (state_in(task.path() / "stat") == 'R') return 'R';
  }
  return own;
}

void LocalProcess::watch() {
  watch_.reset();  // first: a descriptor is watched once
  watch_ = std::make_unique<transport::ReadableWatch>(*loop_, pid_fd_, [this] { reap(); });
}

// Never waits: a wake-up without cause (seen when ranks are killed by the dozen) would stop the whole front.
void LocalProcess::reap() {
  int status = 0;
  const pid_t done = waitpid(pid_, &status, WNOHANG);
  if (done == 0) return watch();
  reaped_ = true;
  cores_.reset();  // first: who takes its place is started by whom this calls
  const auto on_exit = std::move(on_exit_);
  const bool is_ours = done == pid_;
  if (on_exit)
    on_exit(is_ours ? ending_of_status(status)
                    : deployment::Ending{.how = "already reaped", .exit_code = -1});  // may destroy *this
}

}  // namespace concertina::launcher
