#include "bench/rates.h"

#include <immintrin.h>
#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <functional>
#include <thread>
#include <vector>

#include "base/check.h"

namespace concertina::bench {

namespace {

constexpr std::size_t kReadBytes = std::size_t{512} << 20;  // of all threads together
constexpr int kRepeats = 5;
using Clock = std::chrono::steady_clock;

// The best of some repeats: what the machine gives, not what others left of it.
double best_rate(std::size_t n_threads, double work, const std::function<void(std::size_t)>& run) {
  double best = 0;
  for (int i = 0; i < kRepeats; ++i) {
    const auto begin = Clock::now();
    std::vector<std::thread> threads;
    for (std::size_t t = 0; t < n_threads; ++t) threads.emplace_back(run, t);
    for (std::thread& thread : threads) thread.join();
    best = std::max(best, work / std::chrono::duration<double>(Clock::now() - begin).count());
  }
  return best;
}

// Asks for what comes a few lines later, as an engine may: without it the kernels outdid this loop.
std::uint64_t read_all(const char* from, std::size_t n_bytes) {
  constexpr std::size_t kAhead = 8192;
  std::uint64_t sums[8] = {};
  for (std::size_t i = 0; i < n_bytes; i += 64) {
    __builtin_prefetch(from + i + kAhead, 0, 2);
    std::uint64_t words[8];
    std::memcpy(words, from + i, 64);
    for (std::size_t j = 0; j < 8; ++j) sums[j] += words[j];
  }
  return sums[0] + sums[1] + sums[2] + sums[3] + sums[4] + sums[5] + sums[6] + sums[7];
}

#define CONCERTINA_TEN(op) op(0) op(1) op(2) op(3) op(4) op(5) op(6) op(7) op(8) op(9)
#define CONCERTINA_FMA_512(i) "vfmadd231ps %%zmm10, %%zmm11, %%zmm" #i "\n"
#define CONCERTINA_FMA_256(i) "vfmadd231ps %%ymm10, %%ymm11, %%ymm" #i "\n"
#define CONCERTINA_BF16_512(i) "vdpbf16ps %%zmm10, %%zmm11, %%zmm" #i "\n"
#define CONCERTINA_VNNI_512(i) "vpdpbusd %%zmm10, %%zmm11, %%zmm" #i "\n"
#define CONCERTINA_REGISTERS \
  "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11"

constexpr std::size_t kRounds = 20'000'000;

// Ten chains of one instruction: enough to hide its latency on every processor so far.
__attribute__((target("avx512f"))) void fma_512() {
  for (std::size_t i = 0; i < kRounds; ++i)
    asm volatile(CONCERTINA_TEN(CONCERTINA_FMA_512) : : : CONCERTINA_REGISTERS);
}
__attribute__((target("avx2,fma"))) void fma_256() {
  for (std::size_t i = 0; i < kRounds; ++i)
    asm volatile(CONCERTINA_TEN(CONCERTINA_FMA_256) : : : CONCERTINA_REGISTERS);
}
__attribute__((target("avx512f,avx512bf16"))) void bf16_512() {
  for (std::size_t i = 0; i < kRounds; ++i)
    asm volatile(CONCERTINA_TEN(CONCERTINA_BF16_512) : : : CONCERTINA_REGISTERS);
}
__attribute__((target("avx512f,avx512vnni"))) void vnni_512() {
  for (std::size_t i = 0; i < kRounds; ++i)
    asm volatile(CONCERTINA_TEN(CONCERTINA_VNNI_512) : : : CONCERTINA_REGISTERS);
}
// What lies in the registers may be denormal, which is slow.
void clear_registers() { asm volatile("vzeroall" : : : CONCERTINA_REGISTERS); }

}  // namespace

MachineRates measure_rates(std::size_t n_threads) {
  MachineRates rates;
  void* const memory = mmap(nullptr, kReadBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(memory != MAP_FAILED, "no {} bytes to read", kReadBytes);
  madvise(memory, kReadBytes, MADV_HUGEPAGE);
  std::memset(memory, 1, kReadBytes);
  std::vector<std::uint64_t> sums(n_threads * 8);
  const std::size_t share = kReadBytes / n_threads / 64 * 64;
  rates.read_gb_s = 1e-9 * best_rate(n_threads, static_cast<double>(share * n_threads), [&](std::size_t t) {
                      sums[t * 8] = read_all(static_cast<const char*>(memory) + t * share, share);
                    });
  CHECK(sums[0] != 0);
  munmap(memory, kReadBytes);
  const auto rate_of = [&](void (*loop)(), double operations) {
    return 1e-9 *
           best_rate(n_threads, static_cast<double>(n_threads * kRounds * 10) * operations, [&](std::size_t) {
             clear_registers();
             loop();
           });
  };
  if (__builtin_cpu_supports("avx512f")) {
    rates.fma_gflop_s = rate_of(fma_512, 32);
  } else if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    rates.fma_gflop_s = rate_of(fma_256, 16);
  }
  if (__builtin_cpu_supports("avx512bf16")) rates.bf16_gflop_s = rate_of(bf16_512, 64);
  if (__builtin_cpu_supports("avx512vnni")) rates.vnni_gop_s = rate_of(vnni_512, 128);
  return rates;
}

}  // namespace concertina::bench
