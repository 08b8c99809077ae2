#include "base/check.h"

#include <unistd.h>

#include <cstdlib>

#include "base/output_queue.h"

namespace concertina::internal {

void check_failed(const char* file, int line, const char* condition, std::string_view message) {
  // Not by stdio: a log that nobody reads must not keep a broken process alive.
  write_or_drop(STDERR_FILENO, fmt::format("{}:{}: CHECK({}) failed{}{}\n", file, line, condition,
                                           message.empty() ? "" : ": ", message));
  std::abort();
}

}  // namespace concertina::internal
