#include "launcher/cores.h"

#include <sched.h>

namespace concertina::launcher {

std::vector<int> usable_cores() {
  std::vector<int> cores;
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) != 0) return cores;
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (CPU_ISSET(core, &set)) cores.push_back(core);
  }
  return cores;
}

std::vector<int> free_cores(const std::vector<int>& usable, const std::set<int>& taken, std::size_t n) {
  std::vector<int> cores;
  for (const int core : usable) {
    if (cores.size() < n && !taken.contains(core)) cores.push_back(core);
  }
  if (cores.size() < n) cores.clear();
  return cores;
}

}  // namespace concertina::launcher
