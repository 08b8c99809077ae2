// The one to show a colleague: 8 chat streams while the size goes 2 -> 4 -> 3 -> 1 -> 2, on one live screen,
// and a verdict.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <csignal>
#include <thread>

#include "base/check.h"
#include "base/escape.h"
#include "client/admin.h"
#include "tests/harness/load.h"
#include "tests/harness/server_process.h"

namespace concertina {
namespace {

using harness::Load;
using std::chrono::steady_clock;

struct Options {
  std::string binary, model;
  std::size_t n_tokens = 700;
  double seconds_per_size = 2.5;
};

constexpr const char* kQuestions[] = {"Tell me a fable about a fox.",  "What is a harbor?",
                                      "What is 12 times 11?",          "What is the capital of France?",
                                      "Tell me a story about a lion.", "Define journey.",
                                      "How many legs has a spider?",   "What is the opposite of cold?"};

std::vector<client::GenerationRequest> chat_requests(std::size_t n_tokens) {
  std::vector<client::GenerationRequest> requests;
  for (std::size_t i = 0; i < std::size(kQuestions); ++i) {
    client::GenerationRequest request{.messages = {{"user", kQuestions[i]}}, .max_tokens = n_tokens};
    request.temperature = i % 2 == 0 ? 0.8 : 0.0;  // every second one greedy
    request.seed = 1000 + i;
    request.ignore_eos = true;  // long enough to live through changes
    requests.push_back(std::move(request));
  }
  return requests;
}

std::string tail_of(const std::string& text, std::size_t n_columns) {
  std::string flat;
  for (const char c : text) flat.push_back(c == '\n' ? ' ' : c);
  if (flat.size() <= n_columns) return escaped(flat);
  std::size_t begin = flat.size() - n_columns;
  while (begin < flat.size() && (static_cast<unsigned char>(flat[begin]) & 0xC0) == 0x80)
    ++begin;  // not inside a character
  return escaped(flat.substr(begin));
}

// Draws what there is to see, ten times a second; on a pipe only what changed, as lines.
class Screen {
 public:
  Screen(std::string url, const Load& load) : url_(std::move(url)), load_(load), thread_([this] { run(); }) {}
  ~Screen() {
    stopping_ = true;
    thread_.join();
    if (on_terminal_) fmt::print("\033[H\033[2J");
  }
  void say(const std::string& text) {
    std::lock_guard lock(mutex_);
    headline_ = text;
    if (!on_terminal_) fmt::print("{}\n", text);
    std::fflush(stdout);
  }

 private:
  void run() {
    std::uint64_t n_before = load_.n_tokens();
    Time before = steady_clock::now();
    double rate = 0;
    while (!stopping_) {
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      const auto cluster = client::fetch_cluster(url_);
      const Time now = steady_clock::now();
      const std::uint64_t n_now = load_.n_tokens();
      const double current =
          static_cast<double>(n_now - n_before) / std::chrono::duration<double>(now - before).count();
      rate = rate == 0 ? current : 0.8 * rate + 0.2 * current;
      n_before = n_now, before = now;
      if (cluster && on_terminal_) draw(*cluster, rate);
    }
  }
  void draw(const client::ClusterInfo& cluster, double rate) {
    std::string out = "\033[H\033[2J";
    const std::string operation =
        cluster.operation
            ? fmt::format("{} {} -> {}: {}", cluster.operation->kind, cluster.operation->from_size,
                          cluster.operation->to_size, cluster.operation->phase)
            : "steady";
    {
      std::lock_guard lock(mutex_);
      out += fmt::format("\033[1mConcertina\033[0m   {}\n\n", headline_);
    }
    out += fmt::format("epoch {:<4} {} ranks   {:5.0f} tokens/s   {} streams   {}\n\n", cluster.epoch,
                       cluster.size, rate, load_.n_open(), operation);
    for (const client::RankInfo& rank : cluster.ranks) {
      const char* color = rank.state == "active" ? "32" : rank.state == "joining" ? "36" : "33";
      out += fmt::format("  rank {:<2} \033[{}m{:<8}\033[0m {:<8} {:>3} experts   kv {:>4}/{}\n", rank.rank,
                         color, rank.state, std::string(rank.n_running, '*'), rank.n_experts,
                         rank.kv_blocks_used, rank.kv_blocks_total);
    }
    out += "\n";
    for (const harness::StreamView& view : load_.views()) {
      out += fmt::format("  {:>4}  {}\n", view.n_tokens, tail_of(view.text, 90));
    }
    fmt::print("{}", out);
    std::fflush(stdout);
  }

  const std::string url_;
  const Load& load_;
  const bool on_terminal_ = isatty(STDOUT_FILENO) != 0;
  std::mutex mutex_;
  std::string headline_;
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

struct Change {
  std::size_t size;
  double took_ms;
  Time from, to;
  std::uint64_t n_moved;
};

Change change_size(const std::string& url, std::size_t size) {
  Change change{.size = size, .from = steady_clock::now()};
  const auto reply = client::scale(url, {.new_size = size});
  CHECK(reply.has_value(), "{}", reply.error().message());
  change.to = steady_clock::now();
  change.took_ms = to_ms(change.to - change.from);
  const auto operation = client::fetch_operation(url, reply->operation_id);
  change.n_moved = operation ? operation->moved_requests : 0;
  return change;
}

int verdict(const std::vector<harness::StreamRecord>& records, const harness::Comparison& compared,
            const std::vector<Change>& changes) {
  constexpr Duration kAfter = std::chrono::milliseconds(200);  // what a change sets off is part of it
  double during_s = 0, without_s = 0;
  for (const auto& record : records) {
    const auto& times = record.generation.token_times;
    for (std::size_t i = 1; i < times.size(); ++i) {
      const double gap_s = std::chrono::duration<double>(times[i] - times[i - 1]).count();
      const bool in_change = std::any_of(changes.begin(), changes.end(), [&](const Change& change) {
        return times[i] >= change.from && times[i - 1] <= change.to + kAfter;
      });
      (in_change ? during_s : without_s) = std::max(in_change ? during_s : without_s, gap_s);
    }
  }
  std::size_t size = 2;
  fmt::print("\n");
  for (const Change& change : changes) {
    fmt::print("{} -> {} ranks in {:.0f} ms, {} streams moved\n", std::exchange(size, change.size),
               change.size, change.took_ms, change.n_moved);
  }
  fmt::print("\n{} streams, {} tokens, each stream compared with its undisturbed run:\n", compared.n_streams,
             compared.n_tokens);
  fmt::print("  tokens differing   {}\n  requests failed    {}\n", compared.n_tokens_differing,
             compared.n_failed);
  fmt::print("  longest gap between two tokens: {:.0f} ms during changes, {:.0f} ms without one\n\n",
             1e3 * during_s, 1e3 * without_s);
  const bool clean = compared.n_failed == 0 && compared.n_differing == 0;
  fmt::print("{}\n", clean ? "No client could tell." : "NOT CLEAN: " + compared.first_problem);
  return clean ? 0 : 1;
}

int run_demo(const Options& options) {
  auto started = harness::ServerProcess::start(
      {.binary = options.binary, .arguments = {options.model, "--data-parallel-size", "2"}});
  if (!started || !(*started)->wait_ready()) {
    fmt::print(stderr, "{}\n", started ? (*started)->log() : started.error().message());
    return 1;
  }
  const std::string url = (*started)->url();
  const auto requests = chat_requests(options.n_tokens);
  fmt::print("{} chats, each first by itself: what it must say\n", requests.size());
  std::fflush(stdout);
  const auto undisturbed = harness::run_alone(url, requests);
  std::vector<Change> changes;
  Load load(url, requests, Load::Restart::kYes);
  {
    Screen screen(url, load);
    const auto watch = [&](const std::string& text) {
      screen.say(text);
      std::this_thread::sleep_for(std::chrono::duration<double>(options.seconds_per_size));
    };
    watch("the same chats together, on 2 ranks");
    for (const std::size_t size : {4, 3, 1, 2}) {
      changes.push_back(change_size(url, size));
      watch(fmt::format("now {} rank(s), after {:.0f} ms", size, changes.back().took_ms));
    }
    load.stop_restarting();
    screen.say("letting the streams finish");
    while (load.n_open() > 0) std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  const auto records = load.join();
  (*started)->signal(SIGTERM);
  return verdict(records, harness::compare(records, undisturbed), changes);
}

}  // namespace
}  // namespace concertina

int main(int argc, char** argv) {
  concertina::Options options;
  CLI::App app("8 chat streams while the number of ranks goes 2 -> 4 -> 3 -> 1 -> 2");
  app.add_option("--binary", options.binary, "concertina")->required();
  app.add_option("--model", options.model, "checkpoint folder")->required();
  app.add_option("--seconds-per-size", options.seconds_per_size, "how long each size is shown")
      ->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  return concertina::run_demo(options);
}
