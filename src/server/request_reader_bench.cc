// What one turn of the thread that carries streams spends on a connection's bytes, at worst.
#include <benchmark/benchmark.h>

#include <ctime>

#include "server/http/request_reader.h"

namespace concertina::server::http {
namespace {

const Limits kLimits{.max_body_bytes = 64 << 20};

// Of this thread: on a busy machine the worst of many wall times is somebody else's work.
double processor_s() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

std::string head(const std::string& framing) {
  return "POST /v1/completions HTTP/1.1\r\nHost: h\r\n" + framing + "\r\n";
}

// One piece of a body after 4 MiB of it have come.
void one_piece(benchmark::State& state, const std::string& framing, const std::string& piece) {
  for (auto _ : state) {
    state.PauseTiming();
    BodyBudget budget(kLimits.unfinished_bodies_bytes);
    RequestReader reader(kLimits, budget, [] {});
    reader.feed(head(framing));
    std::string left;
    const std::size_t n_pieces = (4 << 20) / kPieceBytes;
    double worst_s = 0;
    for (std::size_t i = 0; i < n_pieces; ++i) {
      left += piece;
      const double begin = processor_s();
      const std::size_t n_taken = reader.feed(left);
      worst_s = std::max(worst_s, processor_s() - begin);
      left.erase(0, n_taken);
    }
    state.ResumeTiming();
    state.SetIterationTime(worst_s);
  }
}

void worst_piece_of_a_plain_body(benchmark::State& state) {
  one_piece(state, "Content-Length: 33554432\r\n", std::string(kPieceBytes, 'x'));
}
BENCHMARK(worst_piece_of_a_plain_body)->UseManualTime()->Iterations(20)->Unit(benchmark::kMicrosecond);

void worst_piece_of_chunks(benchmark::State& state, std::size_t chunk_bytes) {
  std::string piece;
  while (piece.size() < kPieceBytes) {
    char size[16];
    std::snprintf(size, sizeof(size), "%zx\r\n", chunk_bytes);
    piece += size + std::string(chunk_bytes, 'x') + "\r\n";
  }
  one_piece(state, "Transfer-Encoding: chunked\r\n",
            piece.substr(0, kPieceBytes / (chunk_bytes + 5) * (chunk_bytes + 5)));
}
BENCHMARK_CAPTURE(worst_piece_of_chunks, one_byte, 1)
    ->UseManualTime()
    ->Iterations(20)
    ->Unit(benchmark::kMicrosecond);

void whole_head_of_200_fields(benchmark::State& state) {
  std::string fields;
  for (int i = 0; i < 198; ++i)
    fields += "X-Field-" + std::to_string(i % 3) + ": " + std::string(300, 'v') + "\r\n";
  const std::string bytes = head(fields);
  for (auto _ : state) {
    BodyBudget budget(kLimits.unfinished_bodies_bytes);
    RequestReader reader(kLimits, budget, [] {});
    reader.feed(bytes);
    benchmark::DoNotOptimize(reader.state());
  }
}
BENCHMARK(whole_head_of_200_fields)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace concertina::server::http
