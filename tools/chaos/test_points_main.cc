// The server with the test points of base/test_points.h switched on, for ./dev chaos alone. The file named by
// CONCERTINA_TEST_POINTS says which point is armed, and with which signal: whoever passes it first gets it.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>

#include "base/test_points.h"
#include "cli/command.h"
#include "tools/chaos/armed_point.h"

namespace {

concertina::chaos::ArmedPoint* armed = nullptr;  // a hook is a plain function

void on_point(concertina::TestPoint point) {
  std::uint32_t expected = concertina::chaos::armed_value(point);
  if (armed->point.load(std::memory_order_relaxed) != expected) return;
  if (armed->point.compare_exchange_strong(expected, 0)) {
    armed->n_passed.fetch_add(1);
    raise(static_cast<int>(armed->signal.load()));
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (const char* path = std::getenv("CONCERTINA_TEST_POINTS")) {
    const int fd = open(path, O_RDWR | O_CLOEXEC);
    void* const memory = fd < 0 ? MAP_FAILED
                                : mmap(nullptr, sizeof(concertina::chaos::ArmedPoint), PROT_READ | PROT_WRITE,
                                       MAP_SHARED, fd, 0);
    if (fd >= 0) close(fd);
    if (memory != MAP_FAILED) {
      armed = static_cast<concertina::chaos::ArmedPoint*>(memory);
      concertina::test_point_hook = on_point;
    }
  }
  return concertina::cli::run_command(argc, argv);
}
