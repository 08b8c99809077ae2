#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "base/random.h"
#include "base/time.h"
#include "client/admin.h"

namespace concertina::chaos {

// Signals to the ranks of a server.
class RankTrouble {
 public:
  explicit RankTrouble(std::string url) : url_(std::move(url)) {}

  void kill_one(Random random);
  void terminate_one(Random random);
  // It is woken up later, before or after it was given up.
  void stop_one(Random random);
  void wake_one();
  void wake_all();

  // Every rank that shows up is killed at once, for so long. Then the size comes back to the wanted one;
  // false if it does not within a minute.
  bool kill_all_for(Duration duration);
  std::string summary() const;

 private:
  std::optional<pid_t> some_rank(Random& random) const;

  const std::string url_;
  std::vector<pid_t> stopped_;
  std::size_t n_killed_ = 0, n_terminated_ = 0, n_stopped_ = 0;
  std::size_t n_storms_ = 0, n_killed_in_storms_ = 0;
  Duration longest_return_{};
};

// The size is the wanted one, and nothing is under way.
bool is_at_rest(const std::string& url);

}  // namespace concertina::chaos
