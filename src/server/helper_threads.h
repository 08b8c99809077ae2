#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/gate.h"
#include "base/time.h"
#include "server/fair_jobs.h"

namespace concertina::server {

// Threads of low priority for work whose size a client decides: reading large bodies, tokenizing them. One of
// them takes small jobs only, so that no ordinary request waits behind megabytes. Belongs to one thread, the
// loop's; results come back to it through `post`.
class HelperThreads {
 public:
  struct Limits {
    std::size_t n_threads = 2;  // 2 or more: the first takes small jobs only
    std::size_t small_bytes = 64 << 10;
    std::size_t max_jobs = 4096;  // that wait
    std::size_t max_bytes = std::size_t{256} << 20;
  };
  using Post = std::function<void(std::function<void()>)>;  // from any thread: runs it on the loop's
  HelperThreads(const Limits& limits, Post post);
  ~HelperThreads();  // jobs that run are waited for, the others dropped; no `done` is posted after it
  // Drops what waits and takes no more; whether what ran has ended by the deadline.
  enum class Ended : std::uint8_t { kNo, kYes };
  Ended end(Duration timeout);
  HelperThreads(const HelperThreads&) = delete;
  HelperThreads& operator=(const HelperThreads&) = delete;

  // Runs `job` on a helper, in its client's turn, and what it returns on the loop's thread. None: no room.
  using Done = std::function<void()>;
  std::optional<FairJobs::Id> submit(const std::string& client, std::size_t n_bytes,
                                     std::function<Done()> job);
  void cancel(const std::string& client, FairJobs::Id id);  // unless it runs or is done already
  std::size_t n_waiting() const;

 private:
  void run(std::size_t max_bytes);

  const Limits limits_;
  const Post post_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  FairJobs jobs_;  // guarded by mutex_
  Gate working_;   // those that run; guarded by mutex_, its passes too
  FairJobs::Id next_id_ = 1;
  std::vector<std::thread> threads_;
};

}  // namespace concertina::server
