#include "tools/chaos/sandbox.h"

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>

#include "base/check.h"

namespace concertina::chaos {
namespace {

volatile sig_atomic_t run_pid = 0;  // a signal handler is a plain function

void end_run(int) {
  if (run_pid > 0) kill(run_pid, SIGKILL);
}

// Orphans come to this process, which is made their reaper: a server first, then its ranks.
void kill_all_that_is_left() {
  for (;;) {
    std::ifstream children("/proc/self/task/" + std::to_string(getpid()) + "/children");
    for (pid_t pid = 0; children >> pid;) kill(pid, SIGKILL);
    if (waitpid(-1, nullptr, 0) < 0 && errno == ECHILD) return;
  }
}

}  // namespace

int in_sandbox(const std::function<int(const std::filesystem::path& folder)>& run) {
  std::string folder = std::filesystem::temp_directory_path() / "concertina-chaos-XXXXXX";
  CHECK(mkdtemp(folder.data()) != nullptr, "cannot make the folder {}", folder);
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  std::fflush(nullptr);
  const pid_t pid = fork();
  CHECK(pid >= 0, "cannot start the run");
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setenv("TMPDIR", folder.c_str(), 1);
    const int code = run(folder);
    std::fflush(nullptr);
    _exit(code);
  }
  run_pid = pid;
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) std::signal(signal, end_run);
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  run_pid = 0;
  kill_all_that_is_left();
  std::error_code ignored;
  std::filesystem::remove_all(folder, ignored);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace concertina::chaos
