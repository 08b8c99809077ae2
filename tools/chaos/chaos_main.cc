// ./dev chaos: a real server under a steady load, while ranks are killed, stopped and told to go, at random
// times and at named points of the protocol, and its size changes; while its files and its binary change,
// clients fill its channels and nobody reads its log. Every stream is compared with its undisturbed run.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <filesystem>

#include "base/check.h"
#include "client/admin.h"
#include "tests/harness/footprint.h"
#include "tests/harness/load.h"
#include "tests/harness/server_process.h"
#include "tools/chaos/client_trouble.h"
#include "tools/chaos/file_trouble.h"
#include "tools/chaos/options.h"
#include "tools/chaos/plan.h"
#include "tools/chaos/points.h"
#include "tools/chaos/rank_trouble.h"
#include "tools/chaos/report.h"
#include "tools/chaos/requests.h"
#include "tools/chaos/sandbox.h"

namespace concertina::chaos {
namespace {

using harness::Load;
using harness::ServerProcess;

Time now() { return std::chrono::steady_clock::now(); }

std::unique_ptr<ServerProcess> start_server(const Options& options, const FileTrouble& files) {
  auto started = ServerProcess::start(
      {.binary = files.binary(),
       .arguments = {files.model(), "--data-parallel-size", "2", "--max-data-parallel-size",
                     std::to_string(options.max_size), "--peer-timeout-ms",
                     std::to_string(options.peer_timeout_ms), "--kv-cache-memory", "32MiB"},
       .log = harness::ServerOptions::Log::kPipe});
  CHECK(started.has_value(), "{}", started.error().message());
  CHECK((*started)->wait_ready().has_value());
  return std::move(*started);
}

class Chaos {
 public:
  Chaos(const Options& options, const std::filesystem::path& folder)
      : options_(options),
        points_(folder),
        files_(folder, options.model, options.binary),
        server_(start_server(options, files_)),
        ranks_(server_->url()),
        clients_(server_->url()) {}

  int run() {
    fmt::print("chaos for {:g} minutes, seed {}\n", options_.minutes, options_.seed);
    Random random(options_.seed);
    const auto requests = make_requests(random, options_);
    const auto undisturbed = harness::run_alone(server_->url(), requests);
    Load load(server_->url(), requests, Load::Restart::kYes);
    load.wait_for_tokens(200);
    grow_and_shrink();
    const harness::Footprint before = harness::footprint_of(*server_);
    disturb(random.next());
    come_to_rest();
    expect_more_tokens(load);
    const harness::Footprint after = harness::footprint_of(*server_);
    load.stop_restarting();
    const auto records = load.join();
    if (!clients_.problem().empty()) problems_.push_back(clients_.problem());
    return report(
        *server_,
        {.done = {fmt::format("{} scales begun, {} hit at a named point, {} times nobody read the log",
                              n_scaled_, points_.n_passed(), n_log_stops_),
                  ranks_.summary(), files_.summary(), clients_.summary()},
         .compared = harness::compare(records, undisturbed),
         .n_given_up = clients_.n_given_up() + n_given_up(records),
         .before = before,
         .after = after,
         .problems = problems_,
         .seed = options_.seed});
  }

 private:
  void disturb(std::uint64_t seed) {
    Plan plan(seed);
    const Time end =
        now() + std::chrono::duration_cast<Duration>(std::chrono::duration<double>(options_.minutes * 60));
    while (now() < end && problems_.empty() && clients_.problem().empty()) {
      const Step step = plan.next();
      act(step);
      wait(step);
      check_server();
    }
  }

  void act(const Step& step) {
    Random random(step.seed);
    switch (step.action) {
      case Action::kScale:
        return scale(random);
      case Action::kKill:
        return ranks_.kill_one(random);
      case Action::kStop:
        return ranks_.stop_one(random);
      case Action::kTerminate:
        return ranks_.terminate_one(random);
      case Action::kArmPoint:
        return arm(random);
      case Action::kDisconnect:
        return clients_.disconnect();
      case Action::kFiles:
        return files_.trouble_model(random);
      case Action::kBinary:
        return files_.trouble_binary(random);
      case Action::kKillAll:
        return kill_all(random);
      case Action::kFillChannel:
        ranks_.stop_one(random);
        return clients_.fill_channel(random);
      case Action::kStopLogReader:
        return stop_log_reader(random);
    }
  }

  // Stopped ranks are woken up meanwhile, some before and some after they were given up.
  void wait(const Step& step) {
    const Time until = now() + step.pause;
    while (now() < until) harness::pause_between_polls();
    if (step.seed % 3 == 0) ranks_.wake_one();
    if (now() >= log_resumes_) server_->log_reader()->resume();
  }

  void check_server() {
    const auto cluster = client::fetch_cluster(server_->url());
    if (!cluster) problems_.push_back("the server is gone: " + cluster.error().message());
  }

  void scale(Random& random) {
    const client::ScaleCall call{.new_size = 1 + random.below(options_.max_size),
                                 .answer = client::ScaleAnswer::kAtOnce};
    if (client::scale(server_->url(), call)) ++n_scaled_;
  }

  void arm(Random& random) {
    const auto point = static_cast<TestPoint>(random.below(kTestPointNames.size()));
    points_.arm(point, random.below(4) == 0 ? SIGSTOP : SIGKILL);
  }

  // 10 s on end; less where the whole run is short.
  void kill_all(Random& random) {
    const double seconds = std::min(10.0, options_.minutes * 4) * (0.6 + 0.4 * random.uniform());
    if (!ranks_.kill_all_for(std::chrono::duration_cast<Duration>(std::chrono::duration<double>(seconds))))
      problems_.push_back("after all ranks were killed the size did not come back within a minute");
  }

  void stop_log_reader(Random& random) {
    server_->log_reader()->pause();
    log_resumes_ = now() + std::chrono::milliseconds(1000 + random.below(4000));
    ++n_log_stops_;
  }

  void grow_and_shrink(const std::string& name_of_last = "") {
    for (const client::ScaleCall& call : {client::ScaleCall{.new_size = options_.max_size},
                                          client::ScaleCall{.new_size = 2, .operation_id = name_of_last}}) {
      if (!harness::eventually([&] { return client::scale(server_->url(), call).has_value(); }))
        problems_.push_back(fmt::format("at rest, it could not be scaled to {} ranks", call.new_size));
    }
  }

  void come_to_rest() {
    points_.disarm();
    ranks_.wake_all();
    clients_.cut_all();
    files_.restore();
    server_->log_reader()->resume();
    if (!harness::eventually([&] { return is_at_rest(server_->url()); }))
      problems_.push_back("it did not come to rest");
    // What happened last is in the log, though nobody read it now and then.
    const std::string last = "the-last-of-chaos";
    grow_and_shrink(last);
    if (!harness::eventually([&] { return server_->log().find(last) != std::string::npos; }))
      problems_.push_back("the log does not have the last operation");
    check_binary();
  }

  void check_binary() {
    const auto cluster = client::fetch_cluster(server_->url());
    const auto program = [](auto pid) { return fmt::format("/proc/{}/exe", pid); };
    for (const auto& rank : cluster ? cluster->ranks : std::vector<client::RankInfo>()) {
      std::error_code error;
      if (!std::filesystem::equivalent(program(rank.pid), program(server_->pid()), error))
        problems_.push_back(fmt::format("rank {} runs another binary than the front", rank.rank));
    }
  }

  void expect_more_tokens(const Load& load) {
    const std::uint64_t target = load.n_tokens() + 200;
    if (!harness::eventually([&] { return load.n_tokens() >= target; }))
      problems_.push_back("at rest, the streams stood still for a minute");
  }

  const Options options_;
  Points points_;
  FileTrouble files_;
  std::unique_ptr<ServerProcess> server_;
  RankTrouble ranks_;
  ClientTrouble clients_;
  Time log_resumes_{};
  std::vector<std::string> problems_;
  std::size_t n_scaled_ = 0, n_log_stops_ = 0;
};

}  // namespace
}  // namespace concertina::chaos

int main(int argc, char** argv) {
  namespace chaos = concertina::chaos;
  chaos::Options options;
  CLI::App app(
      "Ranks are killed, stopped and told to go, files and the binary change, channels fill and the log is "
      "not "
      "read, while clients read; every stream must stay the same");
  app.add_option("--binary", options.binary, "concertina-with-test-points")->required();
  app.add_option("--model", options.model)->required();
  app.add_option("--minutes", options.minutes)->capture_default_str();
  app.add_option("--seed", options.seed, "of what is done (when it lands differs from run to run)");
  app.add_option("--streams", options.n_streams)->capture_default_str();
  app.add_option("--tokens", options.n_tokens, "of each stream")->capture_default_str();
  app.add_option("--max-data-parallel-size", options.max_size)->capture_default_str();
  app.add_option("--peer-timeout-ms", options.peer_timeout_ms)->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  return chaos::in_sandbox(
      [&](const std::filesystem::path& folder) { return chaos::Chaos(options, folder).run(); });
}
