#include "launcher/exit_status.h"

#include <fmt/format.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstring>

namespace concertina::launcher {

using deployment::Ending;

namespace {
bool is_crash(int signal) {
  constexpr std::array kCrashes{SIGSEGV, SIGABRT, SIGBUS, SIGFPE, SIGILL};
  return std::find(kCrashes.begin(), kCrashes.end(), signal) != kCrashes.end();
}
}  // namespace

Ending ending_of_status(int wait_status) {
  if (WIFEXITED(wait_status))
    return {.how = fmt::format("exit code {}", WEXITSTATUS(wait_status)),
            .exit_code = WEXITSTATUS(wait_status)};
  if (!WIFSIGNALED(wait_status)) return {.how = fmt::format("status {:#x}", wait_status), .exit_code = -1};
  const int signal = WTERMSIG(wait_status);
  return {.cause = is_crash(signal) ? Ending::Cause::kCrash : Ending::Cause::kOther,
          .how = fmt::format("signal {} ({})", signal, strsignal(signal)),
          .signal = signal};
}

}  // namespace concertina::launcher
