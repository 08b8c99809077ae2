#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <list>
#include <optional>
#include <string>
#include <unordered_map>

namespace concertina::server {

// Work of several clients in the order in which it is done: clients take turns by bytes (deficit round robin;
// Shreedhar and Varghese, 1995), so that who sends a lot waits for itself. Bounded by jobs and by bytes.
// Pure; one owner.
class FairJobs {
 public:
  using Id = std::uint64_t;
  struct Job {
    Id id = 0;
    std::size_t n_bytes = 0;
    std::function<void()> run;
  };
  struct Bounds {
    std::size_t max_jobs = 0, max_bytes = 0;
  };
  explicit FairJobs(Bounds bounds) : bounds_(bounds) {}

  // False: there is no room for it.
  bool push(const std::string& client, Job job);
  // The next one that has at most `max_bytes`; none: nothing is here that small.
  std::optional<Job> pop(std::size_t max_bytes);
  // Takes back one that was not popped; a job that is not here is ignored.
  void erase(const std::string& client, Id id);

  std::size_t size() const { return n_jobs_; }
  std::size_t n_bytes() const { return n_bytes_; }

 private:
  struct Lane {
    std::deque<Job> jobs;
    std::size_t credit = 0;  // bytes that the client may have done in its turn
  };
  static constexpr std::size_t kBytesPerTurn = 16 << 10;

  Job take(const std::string& client, Lane& lane);

  const Bounds bounds_;
  std::unordered_map<std::string, Lane> lanes_;  // none without jobs
  std::list<std::string> turns_;                 // of every lane; the front's is next
  std::size_t n_jobs_ = 0, n_bytes_ = 0;
};

}  // namespace concertina::server
