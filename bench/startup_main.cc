// From exec to the first token, the model's files in the page cache. `./dev bench startup`.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>

#include "base/check.h"
#include "bench/processor_time.h"
#include "bench/served.h"
#include "bench/summary.h"
#include "client/admin.h"
#include "client/generation.h"

namespace concertina::bench {
namespace {

struct Options {
  ServedOptions served{.n_ranks = 2};
  std::size_t n_runs = 5;
  std::string json_path = "build/bench_startup.json";
};

double ms_since(Time begin) { return to_ms(std::chrono::steady_clock::now() - begin); }

// Reads all of it once, so that the page cache has it; returns its bytes.
std::uint64_t warm_up(const std::filesystem::path& folder) {
  std::uint64_t n_bytes = 0;
  std::vector<char> piece(std::size_t{1} << 20);
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    std::ifstream file(entry.path(), std::ios::binary);
    while (file.read(piece.data(), static_cast<std::streamsize>(piece.size())) || file.gcount() > 0)
      n_bytes += static_cast<std::uint64_t>(file.gcount());
  }
  return n_bytes;
}

constexpr std::size_t kMaxDiscarded = 10;

struct Run {
  double listening_ms = 0, ready_ms = 0, token_ms = 0, second_ms = 0;
};

Run measure(const Options& options) {
  Run run;
  const Time begin = std::chrono::steady_clock::now();
  const auto server = start_server(options.served);
  run.listening_ms = ms_since(begin);
  const Status ready = server->wait_ready(std::chrono::minutes(10));
  CHECK(ready.has_value(), "{}", ready.error().message());
  run.ready_ms = ms_since(begin);
  const auto token = [&](TokenId id) {
    client::GenerationRequest request{.prompt_ids = {id, id + 1, id + 2, id + 3}};
    request.max_tokens = 1;
    request.ignore_eos = true;
    const Time asked = std::chrono::steady_clock::now();
    const auto generated = client::generate(server->url(), request);
    CHECK(generated.has_value(), "{}", generated.error().message());
    return ms_since(asked);
  };
  token(1);
  run.token_ms = ms_since(begin);
  run.second_ms = token(1);  // the same work again: what the first one found cold
  server->signal(SIGTERM);
  CHECK(server->wait_exit().has_value(), "{}", server->log());
  return run;
}

int run(const Options& options) {
  const std::uint64_t n_bytes = warm_up(options.served.model);
  std::vector<Run> runs;
  for (std::size_t n_discarded = 0; runs.size() < options.n_runs && n_discarded < kMaxDiscarded;) {
    const LoadWatch watch([] { return process_s(getpid()); });  // the server counts once it was reaped
    const Run run = measure(options);
    const double other_load = watch.other_load();
    if (other_load <= kMaxOtherLoad) {
      runs.push_back(run);
    } else {
      ++n_discarded;
      fmt::print("a start beside other load of {:.1f}% is thrown away\n", 100 * other_load);
    }
  }
  if (runs.empty()) {
    fmt::print(stderr, "every start was disturbed by other load on the machine\n");
    return 1;
  }
  fmt::print("{} ranks x {} threads, {:.2f} GB of files in the page cache\n", options.served.n_ranks,
             options.served.n_threads, 1e-9 * static_cast<double>(n_bytes));
  nlohmann::ordered_json json{
      {"model", options.served.model}, {"ranks", options.served.n_ranks}, {"bytes", n_bytes}};
  const auto summarize = [&](const char* name, const char* title, double Run::*member) {
    Summary summary;
    for (const Run& run : runs) summary.values.push_back(run.*member);
    summary.line(title, "");
    json[name] = summary.json();
  };
  summarize("listening_ms", "exec to listening, ms", &Run::listening_ms);
  summarize("ready_ms", "exec to ready, ms", &Run::ready_ms);
  summarize("first_token_ms", "exec to the first token, ms", &Run::token_ms);
  summarize("second_ms", "the same request again, ms", &Run::second_ms);
  write_json(options.json_path, json);
  return 0;
}

}  // namespace
}  // namespace concertina::bench

int main(int argc, char** argv) {
  concertina::bench::Options options;
  CLI::App app("From exec to the first token");
  app.add_option("--binary", options.served.binary, "concertina")->required();
  app.add_option("--model", options.served.model, "checkpoint folder")->required();
  app.add_option("--ranks", options.served.n_ranks, "at the start")->capture_default_str();
  app.add_option("--threads", options.served.n_threads, "of a rank")->capture_default_str();
  app.add_option("--runs", options.n_runs, "starts")->capture_default_str();
  app.add_option("--flags", options.served.flags, "more flags of serve, joined by =");
  app.add_option("--json", options.json_path, "where the numbers go")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  return concertina::bench::run(options);
}
