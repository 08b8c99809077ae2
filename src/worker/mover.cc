#include "worker/mover.h"

#include <sys/prctl.h>

#include "base/background.h"

namespace concertina::worker {

Mover::Mover(const KvMemory& own, std::uint64_t bytes_per_second, std::function<void(const KvCopied&)> answer)
    : own_(own), answer_(std::move(answer)), budget_(bytes_per_second), thread_([this] { run(); }) {}

Mover::~Mover() {
  {
    std::lock_guard lock(mutex_);
    is_stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void Mover::copy(KvCopyJob job) {
  using Stream = KvCopyJob::Stream;
  Jobs& jobs = job.stream == Stream::kStandsStill ? standing_ : going_;
  auto copy = std::make_unique<KvCopy>(own_, std::move(job));
  {
    std::lock_guard lock(mutex_);
    jobs.push_back(std::move(copy));
  }
  changed_.notify_all();
}

void Mover::pause() {
  std::unique_lock lock(mutex_);
  is_paused_ = true;
  let_go_.wait(lock, [this] { return !is_reading_; });
}

void Mover::resume() {
  {
    std::lock_guard lock(mutex_);
    is_paused_ = false;
  }
  changed_.notify_all();
}

// Beside step threads that keep all cores busy it takes turns like one of them, and runs at once when its
// sleep between two bursts is over: with less, a rank's streams would stand still for longer than the copy
// takes; with more, those of others would (docs/performance.md).
void Mover::run() {
  wake_up_at_once();
  ::prctl(PR_SET_NAME, "kv mover");
  std::unique_lock lock(mutex_);
  while (Jobs* const jobs = await_job(lock)) {
    KvCopy& copy = *jobs->front();
    is_reading_ = true;
    lock.unlock();
    const std::size_t n_bytes = copy.advance();
    lock.lock();
    is_reading_ = false;
    let_go_.notify_all();
    if (jobs == &going_) budget_.copied(n_bytes, std::chrono::steady_clock::now());
    if (n_bytes > 0) continue;
    std::unique_ptr<KvCopy> over = std::move(jobs->front());
    jobs->pop_front();
    lock.unlock();
    answer_(over->outcome());
    over.reset();  // outside the lock: it may be the last that names the source's memory
    lock.lock();
  }
}

// The jobs of which the first is to get on; null: the end.
Mover::Jobs* Mover::await_job(std::unique_lock<std::mutex>& lock) {
  while (!is_stopping_) {
    const bool can_go = !is_paused_ && !going_.empty();
    if (!is_paused_ && !standing_.empty()) return &standing_;
    if (can_go && budget_.not_before() <= std::chrono::steady_clock::now()) return &going_;
    if (can_go) {
      changed_.wait_until(lock, budget_.not_before());
    } else {
      changed_.wait(lock);
    }
  }
  return nullptr;
}

}  // namespace concertina::worker
