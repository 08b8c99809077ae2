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
constexpr std::size_t kTokens = 2048;

KvMemoryLayout layout_of(std::size_t n_blocks) {
  KvMemoryLayout layout{.blocks = {.n_blocks = n_blocks, .block_size = kBlockSize, .pools = {}},
                        .records = {.n_blocks = n_blocks, .n_slots = 1, .max_sequence_blocks = n_blocks}};
  for (std::size_t i = 0; i < kLayers; ++i)
    layout.blocks.pools.push_back({i * n_blocks * kPieceBytes, kPieceBytes});
  return layout;
}

double now_ms() { return to_ms(std::chrono::steady_clock::now().time_since_epoch()); }

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
  std::uint64_t count() const {
    std::uint64_t n = 0;
    for (const auto& count : counts_) n += count.load(std::memory_order_relaxed);
    return n;
  }
  std::size_t size() const { return threads_.size(); }

 private:
  std::atomic<bool> goes_on_{true};
  std::vector<std::atomic<std::uint64_t>> counts_;
  std::vector<std::thread> threads_;
};

// Arguments: step threads; bandwidth in GiB/s, 0: a stream that stands still.
void move_beside_steps(benchmark::State& state) {
  const std::size_t n_blocks = kTokens / kBlockSize;
  const KvMemoryLayout layout = layout_of(n_blocks);
  const auto source = KvMemory::create({RankId(0), Incarnation(1)}, layout).value();
  const auto taker = KvMemory::create({RankId(1), Incarnation(1)}, layout).value();
  source.populate(BlockId(0), n_blocks), taker.populate(BlockId(0), n_blocks);
  kvcache::SequenceRecords records(layout.records, source.records());
  kvcache::BlockPool pool(n_blocks, 0, records.stamps());
  std::vector<BlockId> table;
  CHECK(pool.take(RequestId(1), n_blocks, table));
  const auto slot = records.open(RequestId(1)).value();
  for (const BlockId block : table) records.append(slot, block, pool.generation(block));
  records.commit(slot, kTokens);
  const auto peer = PeerKv::open({{RankId(0), Incarnation(1)}, source.address()}, layout).value();

  const auto bandwidth = static_cast<std::uint64_t>(state.range(1)) << 30;
  using Stream = KvCopyJob::Stream;
  std::promise<std::size_t> done;
  double cpu_ms = 0;
  Mover mover(taker, bandwidth, [&](const KvCopied& copied) {
    timespec time{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    cpu_ms = static_cast<double>(time.tv_sec) * 1e3 + static_cast<double>(time.tv_nsec) / 1e6;
    done.set_value(copied.n_tokens);
  });
  Busy busy(static_cast<std::size_t>(state.range(0)));
  double moved_ms = 0, worst_ms = 0, lost_ms = 0;
  for (auto _ : state) {
    done = {};
    const std::uint64_t calm_from = busy.count();
    const double calm_begin = now_ms();
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    const std::uint64_t from = busy.count();
    const double begin = now_ms();
    mover.copy({.request = RequestId(1),
                .source = peer,
                .blocks = table,
                .n_tokens = kTokens,
                .stream = bandwidth == 0 ? Stream::kStandsStill : Stream::kGoesOn});
    CHECK(done.get_future().get() == kTokens);
    const double took = now_ms() - begin;
    const std::uint64_t to = busy.count();
    const double calm_rate =
        static_cast<double>(from - calm_from) / (begin - calm_begin);  // all threads, a ms
    moved_ms += took, worst_ms = std::max(worst_ms, took);
    if (busy.size() > 0)
      lost_ms += (took - static_cast<double>(to - from) / calm_rate) * static_cast<double>(busy.size());
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
