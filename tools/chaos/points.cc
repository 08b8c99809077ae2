#include "tools/chaos/points.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>

#include "base/check.h"

namespace concertina::chaos {

Points::Points(const std::filesystem::path& folder) {
  const std::string path = folder / "points";
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  CHECK(fd >= 0 && ftruncate(fd, sizeof(ArmedPoint)) == 0, "cannot make {}", path);
  void* const memory = mmap(nullptr, sizeof(ArmedPoint), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  CHECK(memory != MAP_FAILED);
  close(fd);
  armed_ = static_cast<ArmedPoint*>(memory);
  setenv("CONCERTINA_TEST_POINTS", path.c_str(), 1);
}

Points::~Points() { munmap(armed_, sizeof(ArmedPoint)); }

void Points::arm(TestPoint point, int signal) {
  armed_->signal = static_cast<std::uint32_t>(signal);
  armed_->point = armed_value(point);
}

}  // namespace concertina::chaos
