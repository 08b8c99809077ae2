#include "server/helper_threads.h"

#include <limits>

#include "base/background.h"
#include "base/check.h"

namespace concertina::server {

namespace {
constexpr int kNice = 10;  // a tenth of a core where a rank wants all of it
}  // namespace

HelperThreads::HelperThreads(const Limits& limits, Post post)
    : limits_(limits),
      post_(std::move(post)),
      jobs_({.max_jobs = limits.max_jobs, .max_bytes = limits.max_bytes}) {
  CHECK(limits.n_threads >= 2);
  for (std::size_t i = 0; i < limits.n_threads; ++i) {
    const std::size_t max_bytes = i == 0 ? limits.small_bytes : std::numeric_limits<std::size_t>::max();
    threads_.emplace_back([this, max_bytes] { run(max_bytes); });
  }
}

HelperThreads::~HelperThreads() {
  end(Duration::zero());
  for (std::thread& thread : threads_) thread.join();
}

HelperThreads::Ended HelperThreads::end(Duration timeout) {
  std::unique_lock lock(mutex_);
  working_.close([this] { changed_.notify_all(); });
  changed_.notify_all();
  return changed_.wait_for(lock, timeout, [this] { return working_.n_inside() == 0; }) ? Ended::kYes
                                                                                       : Ended::kNo;
}

std::optional<FairJobs::Id> HelperThreads::submit(const std::string& client, std::size_t n_bytes,
                                                  std::function<Done()> job) {
  const FairJobs::Id id = next_id_++;
  {
    const std::lock_guard lock(mutex_);
    if (working_.is_closed() ||
        !jobs_.push(client, {id, n_bytes, [this, job = std::move(job)] { post_(job()); }}))
      return std::nullopt;
  }
  changed_.notify_all();
  return id;
}

void HelperThreads::cancel(const std::string& client, FairJobs::Id id) {
  const std::lock_guard lock(mutex_);
  jobs_.erase(client, id);
}

std::size_t HelperThreads::n_waiting() const {
  const std::lock_guard lock(mutex_);
  return jobs_.size();
}

void HelperThreads::run(std::size_t max_bytes) {
  work_in_the_background(kNice);
  std::unique_lock lock(mutex_);
  while (!working_.is_closed()) {
    std::optional<FairJobs::Job> job = jobs_.pop(max_bytes);
    if (!job) {
      changed_.wait(lock);
      continue;
    }
    auto pass = working_.enter();
    lock.unlock();
    job->run();
    job.reset();  // what it holds is freed here, not under the lock
    lock.lock();
    pass.reset();
  }
}

}  // namespace concertina::server
