// Instructions of a rank's step loop for each token, outside the kernels: counted by callgrind, so that they
// are the same in every run. `./dev bench instructions`.
#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include "base/check.h"
#include "base/random.h"
#include "bench/callgrind.h"
#include "bench/engine.h"
#include "bench/summary.h"
#include "transport/codec.h"
#include "worker/control_link.h"
#include "worker/step_loop.h"

namespace concertina::bench {
namespace {

struct Options {
  std::vector<std::string> models;
  std::size_t n_sequences = 0, n_prompt = 1, n_generated = 8;  // of the run under callgrind
  std::string feature;                                         // of its requests
  std::size_t n_functions = 0;
  std::string json_path = "build/bench_instructions.json";
};
struct Load {
  std::string name;
  std::size_t n_sequences, n_prompt, n_generated;
  std::string feature = "plain";
  std::size_t n_tokens() const { return n_sequences * (n_prompt + n_generated - 1); }
};
// A prompt of one token makes every step one of decoding.
const Load kLoads[] = {{"decode 1", 1, 1, 16},
                       {"decode 8", 8, 1, 8},
                       {"decode 32", 32, 1, 4},
                       {"prefill 128", 1, 128, 1},
                       {"decode 32, sampled", 32, 1, 4, "sampled"},
                       {"logprobs 5", 32, 1, 4, "logprobs"},
                       {"penalties", 32, 1, 4, "penalties"},
                       {"logit_bias 300", 32, 1, 4, "bias"}};

// What features cost is told beside "sampled", all at temperature 0.8; "plain" has the server's default.
void add_feature(const std::string& feature, request::Request& request) {
  if (feature == "plain") return;
  request.sampling.temperature = 0.8f;
  if (feature == "logprobs") request.logprobs.n_top = 5;
  if (feature == "penalties") {
    request.sampling.repetition_penalty = 1.1f;
    request.sampling.frequency_penalty = request.sampling.presence_penalty = 0.5f;
  }
  if (feature != "bias") return;
  request::TokenRules rules;
  for (TokenId token = 0; token < 300; ++token) rules.logit_bias.push_back({7 * token, 1.0f});
  request.rules = std::move(rules);
}

// A rank alone, as a worker process runs it: its step loop, its link to a front, which only reads.
class RankAlone {
 public:
  explicit RankAlone(const Options& options) : options_(options) {
    // Callgrind knows no AVX-512; what is counted here is the same.
    auto engine = Engine::create({.model_path = options.models[0],
                                  .n_threads = 1,
                                  .n_sequences = options.n_sequences,
                                  .instruction_set = device::InstructionSet::kAvx2});
    CHECK(engine.has_value(), "{}", engine.error().message());
    engine_ = std::move(*engine);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends_.data()) == 0);
  }

  void run() {
    std::thread front([this] {
      std::array<char, 4096> piece{};
      while (read(ends_[0], piece.data(), piece.size()) > 0) continue;
    });
    worker::ControlLink link(
        ends_[1], [](const transport::Frame&) {}, [](const Error&) {});
    link.start();
    worker::StepLoop loop({.rank = engine_->parts_of_only_rank(),
                           .inbox = inbox_,
                           .send =
                               [&](const cluster::FromRank& message) {
                                 count_finished(message);
                                 link.send(transport::frame_of(message));
                               },
                           .discard = [](const std::shared_ptr<const exchange::EpochView>&) {}});
    enter_epoch(Epoch(2));  // the loop knows of none: the engine's first one was entered without it
    for (std::size_t i = 0; i < options_.n_sequences; ++i) inbox_.push(cluster::Assign{request(i)});
    const Status ended = loop.run();
    CHECK(ended.has_value(), "{}", ended.error().message());
    link.stop();
    close(ends_[1]);
    front.join();
  }

 private:
  void enter_epoch(Epoch epoch) {
    auto view = engine_->prepare(0, epoch);
    CHECK(view.has_value(), "{}", view.error().message());
    inbox_.push(worker::EpochPrepared{epoch, std::move(*view)});
    inbox_.push(cluster::Enter{epoch});
  }

  request::Request request(std::size_t index) const {
    Random random(index);
    request::Request request{.id = RequestId(index + 1), .n_prompt_tokens = options_.n_prompt};
    const std::size_t vocab_size = engine_->parts_of_only_rank().model->config().vocab_size;
    for (std::size_t i = 0; i < options_.n_prompt; ++i)
      request.tokens.push_back(static_cast<TokenId>(random.below(vocab_size)));
    request.sampling.seed = index;
    request.stop = {.max_tokens = options_.n_generated, .ignore_eos = true};
    add_feature(options_.feature, request);
    return request;
  }

  void count_finished(const cluster::FromRank& message) {
    const auto* output = std::get_if<cluster::StepOutput>(&message);
    if (output == nullptr) return;
    for (const request::TokenEvent& token : output->tokens)
      n_finished_ += token.finish_reason != request::FinishReason::kNone;
    if (n_finished_ == options_.n_sequences) inbox_.push(cluster::Release{});
  }

  const Options& options_;
  std::unique_ptr<Engine> engine_;
  std::array<int, 2> ends_{};
  worker::Inbox inbox_{1 << 10};
  std::size_t n_finished_ = 0;
};

// This program again, under callgrind, as a rank alone.
Profile profile(const std::string& model, const Load& load) {
  const std::string path = fmt::format("build/callgrind.{}", getpid());
  const std::string command = fmt::format(
      "LD_BIND_NOW=1 valgrind --quiet --tool=callgrind --callgrind-out-file='{}' --compress-strings=no "
      "--compress-pos=no "
      "--toggle-collect='concertina::worker::StepLoop::run()' '{}' --model '{}' --sequences {} --prompt {} "
      "--generated {} --feature {}",
      path, std::filesystem::read_symlink("/proc/self/exe").string(), model, load.n_sequences, load.n_prompt,
      load.n_generated, load.feature);
  const int status = std::system(command.c_str());
  CHECK(status == 0, "{} ended with status {}", command, status);
  auto profile = read_callgrind(path);
  CHECK(profile.has_value(), "{}", profile.error().message());
  std::filesystem::remove(path);
  return std::move(*profile);
}

int run(const Options& options) {
  nlohmann::ordered_json json;
  fmt::print("{:<24} {:<20} {:>8} {:>16} {:>16}\n", "model", "load", "tokens", "outside kernels", "of all");
  for (const std::string& model : options.models) {
    for (const Load& load : kLoads) {
      const Profile counts = profile(model, load);
      const double outside = static_cast<double>(counts.outside) / static_cast<double>(load.n_tokens());
      const double share = static_cast<double>(counts.outside) / static_cast<double>(counts.total);
      fmt::print("{:<24} {:<20} {:>8} {:>16.0f} {:>15.2f}%\n", model, load.name, load.n_tokens(), outside,
                 100 * share);
      for (std::size_t i = 0; i < std::min(options.n_functions, counts.functions.size()); ++i) {
        fmt::print("    {:>12.1f} {}\n",
                   static_cast<double>(counts.functions[i].second) / static_cast<double>(load.n_tokens()),
                   counts.functions[i].first);
      }
      json["loads"].push_back(
          {{"model", model}, {"load", load.name}, {"outside_per_token", outside}, {"share", share}});
    }
  }
  write_json(options.json_path, json);
  return 0;
}

}  // namespace
}  // namespace concertina::bench

int main(int argc, char** argv) {
  concertina::bench::Options options;
  CLI::App app("Instructions per token of a rank's step loop outside the kernels");
  app.add_option("--model", options.models, "folders")->required();
  app.add_option("--functions", options.n_functions, "print so many functions, the costliest first");
  app.add_option("--sequences", options.n_sequences, "run a rank alone, with so many sequences");
  app.add_option("--prompt", options.n_prompt, "tokens of each one's prompt");
  app.add_option("--generated", options.n_generated, "tokens each one is given");
  app.add_option("--feature", options.feature, "that they use: plain, sampled, logprobs, penalties, bias");
  app.add_option("--json", options.json_path, "where the results go");
  CLI11_PARSE(app, argc, argv);
  if (options.n_sequences == 0) return concertina::bench::run(options);
  concertina::bench::RankAlone(options).run();
  return 0;
}
