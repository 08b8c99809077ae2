#include "worker/mover.h"

#include <sys/prctl.h>

#include <algorithm>

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
  const KvCopyJob::Stream stream = job.stream;
  auto entry = std::make_unique<Entry>(Entry{KvCopy(own_, std::move(job)), stream});
  {
    std::lock_guard lock(mutex_);
    entries_.push_back(std::move(entry));
  }
  changed_.notify_all();
}

void Mover::hurry(RequestId request) {
  std::lock_guard lock(mutex_);
  Entry* const entry = find(request);
  if (entry == nullptr) return;
  entry->stream = KvCopyJob::Stream::kStandsStill;
  changed_.notify_all();
}

void Mover::drop(RequestId request) {
  std::lock_guard lock(mutex_);
  Entry* const entry = find(request);
  if (entry == nullptr) return;
  entry->wanted = Entry::Wanted::kNo;
  entry->stream = KvCopyJob::Stream::kStandsStill;  // no budget keeps its blocks
  changed_.notify_all();
}

// A request that was dropped and came again is the later one.
Mover::Entry* Mover::find(RequestId request) {
  const auto is_it = [&](const auto& entry) {
    return entry->copy.job().request == request && entry->wanted == Entry::Wanted::kYes;
  };
  const auto found = std::find_if(entries_.begin(), entries_.end(), is_it);
  return found == entries_.end() ? nullptr : found->get();
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
  while (Entry* const entry = await(lock)) {
    if (entry->wanted == Entry::Wanted::kNo) {
      finish(entry, lock);
      continue;
    }
    is_reading_ = true;
    lock.unlock();
    const std::size_t n_bytes = entry->copy.advance();
    lock.lock();
    is_reading_ = false;
    let_go_.notify_all();
    if (entry->stream == KvCopyJob::Stream::kGoesOn)
      budget_.copied(n_bytes, std::chrono::steady_clock::now());
    if (n_bytes == 0) finish(entry, lock);
  }
}

// It is answered, and let go of, outside the lock: it may be the last that names the source's memory.
void Mover::finish(Entry* entry, std::unique_lock<std::mutex>& lock) {
  const auto place =
      std::find_if(entries_.begin(), entries_.end(), [&](const auto& e) { return e.get() == entry; });
  std::unique_ptr<Entry> over = std::move(*place);
  entries_.erase(place);
  lock.unlock();
  const bool is_wanted = over->wanted == Entry::Wanted::kYes;
  answer_(is_wanted ? over->copy.outcome() : KvCopied{over->copy.job().reservation, 0});
  over.reset();
  lock.lock();
}

// The one that is to get on; null: the end.
Mover::Entry* Mover::await(std::unique_lock<std::mutex>& lock) {
  using Stream = KvCopyJob::Stream;
  while (!is_stopping_) {
    Entry* const standing = is_paused_ ? nullptr : first(Stream::kStandsStill);
    Entry* const going = is_paused_ ? nullptr : first(Stream::kGoesOn);
    if (standing != nullptr) return standing;
    if (going != nullptr && budget_.not_before() <= std::chrono::steady_clock::now()) return going;
    if (going != nullptr) {
      changed_.wait_until(lock, budget_.not_before());
    } else {
      changed_.wait(lock);
    }
  }
  return nullptr;
}

Mover::Entry* Mover::first(KvCopyJob::Stream stream) {
  const auto found = std::find_if(entries_.begin(), entries_.end(),
                                  [&](const auto& entry) { return entry->stream == stream; });
  return found == entries_.end() ? nullptr : found->get();
}

}  // namespace concertina::worker
