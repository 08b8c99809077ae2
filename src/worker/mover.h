#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "worker/copy_budget.h"
#include "worker/kv_copy.h"

namespace concertina::worker {

// Copies KV from peers' memory into blocks that were reserved for it, on a thread of its own, beside steps.
// Every job is answered, with 0 tokens if need be. Streams that stand still come first and know no budget;
// among equals the oldest. There are no more jobs than reservations, and each of those holds a block.
class Mover {
 public:
  // `answer` is called on the mover's thread.
  Mover(const KvMemory& own, std::uint64_t bytes_per_second, std::function<void(const KvCopied&)> answer);
  ~Mover();  // what is not over by then gets no answer

  // Any thread.
  void copy(KvCopyJob job);
  void hurry(RequestId request);  // its stream stands still from now on
  void drop(RequestId request);   // nobody wants it any more: it is answered with 0 tokens
  // When it returns no peer's memory is read, until resume(): it waits for a block to be over.
  void pause();
  void resume();

 private:
  struct Entry {
    KvCopy copy;
    KvCopyJob::Stream stream;
    enum class Wanted : std::uint8_t { kNo, kYes } wanted = Wanted::kYes;
  };
  void run();
  Entry* await(std::unique_lock<std::mutex>& lock);
  Entry* first(KvCopyJob::Stream stream);
  Entry* find(RequestId request);
  void finish(Entry* entry, std::unique_lock<std::mutex>& lock);

  const KvMemory& own_;
  const std::function<void(const KvCopied&)> answer_;
  std::mutex mutex_;
  std::condition_variable changed_, let_go_;
  std::vector<std::unique_ptr<Entry>> entries_;  // oldest first; guarded by mutex_, as all below
  CopyBudget budget_;
  bool is_stopping_ = false, is_paused_ = false, is_reading_ = false;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace concertina::worker
