// A request's KV, 128 MiB as of 2,048 tokens of model M, comes from a peer's memory while a step thread on
// each core computes without a pause. moved_ms: until it is there; lost_ms: what the step threads computed
// less meanwhile, all together, in the time of one.
#include <benchmark/benchmark.h>
#include <time.h>

#include <atomic>
#include <future>
#include <thread>

#include "base/background.h"
#include "base/check.h"
#include "base/thread_pool.h"
#include "worker/mover.h"

namespace concertina::worker {
namespace {

constexpr std::size_t kLayers = 16, kPieceBytes = std::size_t{64} << 10, kBlockSize = 16;
constexpr std::size_t kTokens = 2048, kBlocks = kTokens / kBlockSize;

KvMemoryLayout layout_of(std::size_t n_blocks) {
  KvMemoryLayout layout{.blocks = {.n_blocks = n_blocks, .block_size = kBlockSize, .pools = {}},
                        .records = {.n_blocks = n_blocks, .n_slots = 1, .max_sequence_blocks = n_blocks}};
  for (std::size_t i = 0; i < kLayers; ++i)
    layout.blocks.pools.push_back({i * n_blocks * kPieceBytes, kPieceBytes});
  return layout;
}

// Step threads that never wait, one a core.
class Busy {
 public:
  explicit Busy(std::size_t n_threads) : counts_(n_threads) {
    for (std::size_t i = 0; i < n_threads; ++i)
      threads_.emplace_back([this, i] {
        wake_up_at_once();
        pin_this_thread(static_cast<int>(i));
        for (std::uint64_t x = 1; goes_on_.load(std::memory_order_relaxed);) {
          for (int k = 0; k < 1000; ++k) benchmark::DoNotOptimize(x = x * 6364136223846793005u + 1);
          counts_[i].fetch_add(1, std::memory_order_relaxed);
        }
      });
  }
  ~Busy() {
    goes_on_ = false;
    for (std::thread& thread : threads_) thread.join();
  }
  struct Mark {
    double at_ms = 0, count = 0;  // all threads together
  };
  Mark mark() const {
    Mark mark{.at_ms = to_ms(std::chrono::steady_clock::now().time_since_epoch())};
    for (const auto& count : counts_)
      mark.count += static_cast<double>(count.load(std::memory_order_relaxed));
    return mark;
  }
  std::size_t size() const { return threads_.size(); }

 private:
  std::atomic<bool> goes_on_{true};
  std::vector<std::atomic<std::uint64_t>> counts_;
  std::vector<std::thread> threads_;
};

// Two ranks' KV memory, all of it touched, and a request whose KV lies in the first one's.
class Pair {
 public:
  Pair() {
    source_.populate(BlockId(0), kBlocks), taker.populate(BlockId(0), kBlocks);
    CHECK(pool_.take(RequestId(1), kBlocks, table_));
    const auto slot = records_.open(RequestId(1)).value();
    for (const BlockId block : table_) records_.append(slot, block, pool_.generation(block));
    records_.commit(slot, kTokens);
  }
  KvCopyJob job(KvCopyJob::Stream stream) const {
    return {
        .request = RequestId(1), .source = peer_, .blocks = table_, .n_tokens = kTokens, .stream = stream};
  }

 private:
  static KvMemory make(std::uint32_t rank) {
    return KvMemory::create({RankId(rank), Incarnation(1)}, layout_of(kBlocks)).value();
  }
  const KvMemory source_ = make(0);
  kvcache::SequenceRecords records_{source_.layout().records, source_.records()};
  kvcache::BlockPool pool_{kBlocks, 0, records_.stamps()};
  std::vector<BlockId> table_;
  const std::shared_ptr<const PeerKv> peer_ =
      PeerKv::open({{RankId(0), Incarnation(1)}, source_.address()}, source_.layout()).value();

 public:
  const KvMemory taker = make(1);
};

double thread_ms() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) * 1e3 + static_cast<double>(time.tv_nsec) / 1e6;
}

// Arguments: step threads; bandwidth in GiB/s, 0: a stream that stands still.
void move_beside_steps(benchmark::State& state) {
  const Pair pair;
  const auto bandwidth = static_cast<std::uint64_t>(state.range(1)) << 30;
  const auto stream = bandwidth == 0 ? KvCopyJob::Stream::kStandsStill : KvCopyJob::Stream::kGoesOn;
  std::promise<std::size_t> done;
  double cpu_ms = 0, moved_ms = 0, worst_ms = 0, lost_ms = 0;
  Mover mover(pair.taker, bandwidth, [&](const KvCopied& copied) {
    cpu_ms = thread_ms();
    done.set_value(copied.n_tokens);
  });
  const Busy busy(static_cast<std::size_t>(state.range(0)));
  for (auto _ : state) {
    done = {};
    const Busy::Mark calm = busy.mark();
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    const Busy::Mark begin = busy.mark();
    mover.copy(pair.job(stream));
    CHECK(done.get_future().get() == kTokens);
    const Busy::Mark end = busy.mark();
    const double took = end.at_ms - begin.at_ms;
    moved_ms += took, worst_ms = std::max(worst_ms, took);
    if (busy.size() > 0)
      lost_ms +=
          (took - (end.count - begin.count) / ((begin.count - calm.count) / (begin.at_ms - calm.at_ms))) *
          static_cast<double>(busy.size());
  }
  const auto n = static_cast<double>(state.iterations());
  state.counters["moved_ms"] = moved_ms / n, state.counters["worst_ms"] = worst_ms;
  state.counters["lost_ms"] = lost_ms / n, state.counters["cpu_ms"] = cpu_ms / n;
}
BENCHMARK(move_beside_steps)
    ->ArgNames({"steps", "gib_s"})
    ->ArgsProduct({{0, 2}, {0, 4}})
    ->Iterations(20)
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace concertina::worker
