#pragma once

#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <functional>
#include <iterator>
#include <sstream>
#include <string>
#include <thread>
#include <utility>

#include "base/time.h"

namespace concertina::bench {

// Runs during which other programs took more than this share of the machine do not count.
inline constexpr double kMaxOtherLoad = 0.06;

inline double tick_s() { return 1.0 / static_cast<double>(sysconf(_SC_CLK_TCK)); }

// Seconds of processor time used on this machine, by all, since it started.
inline double machine_busy_s() {
  std::ifstream stat("/proc/stat");
  std::string cpu;
  double user = 0, nice = 0, system = 0, idle = 0, io = 0, irq = 0, soft = 0, steal = 0;
  stat >> cpu >> user >> nice >> system >> idle >> io >> irq >> soft >> steal;
  return (user + nice + system + irq + soft + steal) * tick_s();
}

// Of one process with its ended children; 0 if there is none.
inline double process_s(pid_t pid) {
  std::ifstream file(fmt::format("/proc/{}/stat", pid));
  std::string text((std::istreambuf_iterator<char>(file)), {});
  const std::size_t after = text.rfind(')');
  if (after == std::string::npos) return 0;
  std::istringstream fields(text.substr(after + 2));
  std::string skip;
  for (int i = 0; i < 11; ++i) fields >> skip;
  double user = 0, system = 0, children_user = 0, children_system = 0;
  fields >> user >> system >> children_user >> children_system;
  return (user + system + children_user + children_system) * tick_s();
}

// From its making on: the share of the machine that others have had. `used_s` gives the seconds of processor
// time that the measured processes have used.
class LoadWatch {
 public:
  explicit LoadWatch(std::function<double()> used_s)
      : used_s_(std::move(used_s)), busy_before_(machine_busy_s()), used_before_(used_s_()) {}
  double other_load() const {
    const double others_s = machine_busy_s() - busy_before_ - (used_s_() - used_before_);
    const double wall_s = to_ms(std::chrono::steady_clock::now() - begin_) / 1e3;
    return others_s / (wall_s * static_cast<double>(std::thread::hardware_concurrency()));
  }

 private:
  const std::function<double()> used_s_;
  const double busy_before_, used_before_;
  const Time begin_ = std::chrono::steady_clock::now();
};

}  // namespace concertina::bench
