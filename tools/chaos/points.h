#pragma once

#include <filesystem>

#include "base/test_points.h"
#include "tools/chaos/armed_point.h"

namespace concertina::chaos {

// The file through which points are armed; made in `folder`, and named to the server by its environment.
class Points {
 public:
  explicit Points(const std::filesystem::path& folder);
  ~Points();
  void arm(TestPoint point, int signal);
  void disarm() { armed_->point = 0; }
  std::uint32_t n_passed() const { return armed_->n_passed; }

 private:
  ArmedPoint* armed_ = nullptr;
};

}  // namespace concertina::chaos
