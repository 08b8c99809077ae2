// ./dev chaos: a real server under a steady load, while ranks are killed, stopped and told to go, at random
// times and at named points of the protocol, and its size changes. Every stream is compared with its
// undisturbed run.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <random>

#include "base/check.h"
#include "base/random.h"
#include "client/admin.h"
#include "tests/harness/footprint.h"
#include "tests/harness/load.h"
#include "tests/harness/server_process.h"
#include "tools/chaos/armed_point.h"

namespace concertina::chaos {
namespace {

using harness::Load;

struct Options {
  std::string binary, model;
  double minutes = 1;
  std::uint64_t seed = std::random_device()();
  std::size_t n_streams = 12, n_tokens = 300, max_size = 5;
  std::uint32_t peer_timeout_ms = 500;
};

Time now() { return std::chrono::steady_clock::now(); }

// The file through which points are armed.
class Points {
 public:
  Points()
      : path_((std::filesystem::temp_directory_path() / fmt::format("concertina-points-{}", getpid()))
                  .string()) {
    const int fd = open(path_.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    CHECK(fd >= 0 && ftruncate(fd, sizeof(ArmedPoint)) == 0, "cannot make {}", path_);
    void* const memory = mmap(nullptr, sizeof(ArmedPoint), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(memory != MAP_FAILED);
    close(fd);
    armed_ = static_cast<ArmedPoint*>(memory);
    setenv("CONCERTINA_TEST_POINTS", path_.c_str(), 1);
  }
  ~Points() {
    munmap(armed_, sizeof(ArmedPoint));
    std::filesystem::remove(path_);
  }
  void arm(TestPoint point, int signal) {
    armed_->signal = static_cast<std::uint32_t>(signal);
    armed_->point = armed_value(point);
  }
  void disarm() { armed_->point = 0; }
  std::uint32_t n_passed() const { return armed_->n_passed; }

 private:
  const std::string path_;
  ArmedPoint* armed_ = nullptr;
};

class Chaos {
 public:
  explicit Chaos(const Options& options) : options_(options), random_(options.seed) {}

  int run() {
    fmt::print("chaos for {:g} minutes, seed {}\n", options_.minutes, options_.seed);
    start();
    const auto requests =
        harness::make_requests(random_.next(), options_.n_streams, options_.n_tokens, 4093, 100);
    const auto undisturbed = harness::run_alone(server_->url(), requests);
    Load load(server_->url(), requests, Load::Restart::kYes);
    load.wait_for_tokens(200);
    scale_and_wait(options_.max_size);
    scale_and_wait(2);
    const harness::Footprint before = harness::footprint_of(*server_);
    const Time end =
        now() + std::chrono::duration_cast<Duration>(std::chrono::duration<double>(options_.minutes * 60));
    while (now() < end && load.n_open() + 1 > 0) {
      if (!act()) return 1;
      wait(std::chrono::milliseconds(20 + random_.below(400)));
    }
    points_.disarm();
    for (const pid_t pid : stopped_) kill(pid, SIGCONT);
    const bool at_rest = harness::eventually([&] { return is_at_rest(); });
    scale_and_wait(options_.max_size);
    scale_and_wait(2);
    load.wait_for_tokens(200);
    const harness::Footprint after = harness::footprint_of(*server_);
    load.stop_restarting();
    const auto compared = harness::compare(load.join(), undisturbed);
    return report(compared, before, after, at_rest);
  }

 private:
  void start() {
    auto started = harness::ServerProcess::start(
        {.binary = options_.binary,
         .arguments = {options_.model, "--data-parallel-size", "2", "--max-data-parallel-size",
                       std::to_string(options_.max_size), "--peer-timeout-ms",
                       std::to_string(options_.peer_timeout_ms), "--kv-cache-memory", "32MiB"}});
    CHECK(started.has_value(), "{}", started.error().message());
    server_ = std::move(*started);
    CHECK(server_->wait_ready().has_value());
  }

  // Stopped ranks are woken up meanwhile, some before and some after they were given up.
  void wait(Duration duration) {
    const Time until = now() + duration;
    while (now() < until) harness::pause_between_polls();
    if (!stopped_.empty() && random_.below(3) == 0) {
      kill(stopped_.back(), SIGCONT);
      stopped_.pop_back();
    }
  }

  bool act() {
    const auto cluster = client::fetch_cluster(server_->url());
    if (!cluster) {
      fmt::print("the server is gone: {}\n{}", cluster.error().message(), server_->log());
      return false;
    }
    const std::uint64_t what = random_.below(10);
    if (what < 4) {
      scale();
    } else if (cluster->size < 2 || cluster->ranks.empty()) {
      return true;  // the last one is left alone: three failed starts in a row would rightly end the server
    } else if (what < 6) {
      hit(*cluster, SIGKILL, n_killed_);
    } else if (what < 7) {
      stopped_.push_back(hit(*cluster, SIGSTOP, n_stopped_));
    } else if (what < 8) {
      if (random_.below(3) == 0) hit(*cluster, SIGTERM, n_terminated_);
      disconnect();
    } else {
      points_.arm(static_cast<TestPoint>(random_.below(kTestPointNames.size())),
                  random_.below(4) == 0 ? SIGSTOP : SIGKILL);
    }
    return true;
  }

  pid_t hit(const client::ClusterInfo& cluster, int signal, std::size_t& count) {
    const auto pid = static_cast<pid_t>(cluster.ranks[random_.below(cluster.ranks.size())].pid);
    kill(pid, signal);
    ++count;
    return pid;
  }

  void scale() {
    client::ScaleCall call{.new_size = 1 + random_.below(options_.max_size),
                           .answer = client::ScaleAnswer::kAtOnce};
    if (client::scale(server_->url(), call)) ++n_scaled_;
  }

  void scale_and_wait(std::size_t size) {
    harness::eventually([&] { return client::scale(server_->url(), {.new_size = size}).has_value(); });
  }

  void disconnect() {
    client::GenerationRequest request{.prompt_ids = {1, 2, 3}, .max_tokens = 500, .ignore_eos = true};
    std::size_t n = 0;
    (void)client::generate(server_->url(), request, [&](const client::GenerationChunk&) {
      return ++n < 5 ? client::StreamControl::kContinue : client::StreamControl::kDisconnect;
    });
    ++n_disconnected_;
  }

  bool is_at_rest() const {
    const auto cluster = client::fetch_cluster(server_->url());
    return cluster && !cluster->operation && cluster->ranks.size() == cluster->size;
  }

  int report(const harness::Comparison& compared, const harness::Footprint& before,
             const harness::Footprint& after, bool at_rest) const {
    const std::string metrics = client::request(server_->url(), "GET", "/metrics")->body;
    const auto metric = [&](const std::string& name) {
      const std::size_t at = metrics.find("\n" + name + "{");
      return at == std::string::npos
                 ? std::string("?")
                 : metrics.substr(metrics.find("} ", at) + 2,
                                  metrics.find('\n', at + 1) - metrics.find("} ", at) - 2);
    };
    fmt::print(
        "{} scales begun, {} ranks killed, {} stopped, {} told to go, {} hit at a named point, {} clients "
        "gone\n",
        n_scaled_, n_killed_, n_stopped_, n_terminated_, points_.n_passed(), n_disconnected_);
    fmt::print("{} ranks lost, {} requests rescued from them\n", metric("concertina_failed_ranks_total"),
               metric("concertina_rescued_requests_total"));
    fmt::print("{} streams, {} tokens: {} failed, {} differing\n", compared.n_streams, compared.n_tokens,
               compared.n_failed, compared.n_differing);
    fmt::print(
        "before and after: {} and {} processes, {} and {} descriptors, {} and {} mapped regions, {} and {} "
        "MB\n",
        before.n_processes, after.n_processes, before.n_descriptors, after.n_descriptors, before.n_mappings,
        after.n_mappings, before.resident_kb / 1024, after.resident_kb / 1024);
    const bool leaks =
        after.n_processes > before.n_processes || after.n_descriptors > before.n_descriptors + 8 ||
        after.n_mappings > before.n_mappings || after.resident_kb > before.resident_kb + 96 * 1024;
    const bool is_good = compared.n_failed + compared.n_differing == 0 && !leaks && at_rest;
    if (!is_good) {
      fmt::print("{}\n{}{}seed {}\n{}", compared.first_problem, leaks ? "something was left behind\n" : "",
                 at_rest ? "" : "it did not come to rest\n", options_.seed, server_->log());
    }
    fmt::print("{}\n", is_good ? "no client could tell" : "FAILED");
    return is_good ? 0 : 1;
  }

  const Options options_;
  Random random_;
  Points points_;
  std::unique_ptr<harness::ServerProcess> server_;
  std::vector<pid_t> stopped_;
  std::size_t n_scaled_ = 0, n_killed_ = 0, n_stopped_ = 0, n_terminated_ = 0, n_disconnected_ = 0;
};

}  // namespace
}  // namespace concertina::chaos

int main(int argc, char** argv) {
  concertina::chaos::Options options;
  CLI::App app(
      "Ranks are killed, stopped and told to go while clients read; every stream must stay the same");
  app.add_option("--binary", options.binary, "concertina-with-test-points")->required();
  app.add_option("--model", options.model)->required();
  app.add_option("--minutes", options.minutes)->capture_default_str();
  app.add_option("--seed", options.seed, "of what is done (when it lands differs from run to run)");
  app.add_option("--streams", options.n_streams)->capture_default_str();
  app.add_option("--tokens", options.n_tokens, "of each stream")->capture_default_str();
  app.add_option("--max-data-parallel-size", options.max_size)->capture_default_str();
  app.add_option("--peer-timeout-ms", options.peer_timeout_ms)->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  return concertina::chaos::Chaos(options).run();
}
