#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <csignal>

#include "base/check.h"
#include "base/schedule.h"
#include "front/front.h"
#include "transport/codec.h"
#include "transport/control_channel.h"

namespace concertina::front {

// A rank without a process: it speaks frames over a real socket, on the front's own loop, and answers what it
// is told at once, unless the test makes it silent.
struct FakeRank {
  transport::EventLoop& loop;
  launcher::RankProcess::OnExit on_exit;
  BuildIdentity identity;
  std::size_t n_kv_blocks;
  enum class Says : std::uint8_t { kAll, kNothing } says = Says::kAll;
  transport::FileDescriptor front_end;
  std::unique_ptr<transport::ControlChannel> channel;
  cluster::Member member;  // from its Configure on
  std::optional<transport::Configure> configured;
  std::vector<request::Request> assigned;
  std::vector<RequestId> dropped;
  std::vector<deployment::Ending> ended;  // one at most
  std::vector<cluster::SourceEnded> sources_ended;
  int fd = -1;  // the channel's

  void say(const cluster::FromRank& message) { channel->send(transport::frame_of(message)); }
  void say_what_is_no_frame() { CHECK(::write(fd, "\xff\xff\xff\xff", 4) == 4); }
  // The next token of the request that it was given first.
  void say_token(std::size_t position, TokenId token,
                 request::FinishReason reason = request::FinishReason::kNone) {
    const request::Request& request = assigned.at(0);
    say(cluster::StepOutput{member, {{request.id, request.attempt, position, token, reason}}, {}, {}});
  }
  // It ends: its channel closes, and its parent hears in another turn.
  void end(const deployment::Ending& ending) {
    if (!ended.empty()) return;
    ended.push_back(ending);
    channel->close();
    loop.post([this, ending] {
      if (const auto say = std::exchange(on_exit, nullptr)) say(ending);
    });
  }

  void hear(const transport::Frame& frame) {
    if (frame.has_configure()) {
      configured = frame.configure();
      member = {RankId(configured->rank()), Incarnation(configured->incarnation())};
      if (says == Says::kAll)
        say(cluster::RankHello{
            member, {}, {}, n_kv_blocks, configured->block_size(), configured->max_num_seqs(), identity});
      return;
    }
    std::visit([this](const auto& message) { answer(message); }, transport::to_rank_of(frame).value());
  }
  template <typename Message>
  void answer(const Message&) {}
  void answer(const cluster::Prepare& message) { say(cluster::RankPrepared{member, message.plan.epoch}); }
  void answer(const cluster::Enter& message) { say(cluster::RankFlipped{member, message.epoch}); }
  void answer(const cluster::Commit& message) { say(cluster::RankFlipped{member, message.to}); }
  void answer(const cluster::Freeze& message) { say(cluster::RankFrozen{member, message.ballot}); }
  void answer(const cluster::Assign& message) { assigned.push_back(message.request); }
  void answer(const cluster::Drop& message) { dropped.push_back(message.request); }
  void answer(const cluster::SourceEnded& message) { sources_ended.push_back(message); }
  void answer(const cluster::Release&) {
    if (says == Says::kAll) end({.how = "exit code 0"});
  }
};

class FakeProcess : public launcher::RankProcess {
 public:
  explicit FakeProcess(FakeRank& rank) : rank_(rank) {}
  ~FakeProcess() override { rank_.on_exit = nullptr; }
  pid_t pid() const override { return 4711; }
  int take_control_fd() override { return rank_.front_end.release(); }
  std::vector<int> cores() const override { return {}; }
  void kill() override { rank_.end({.how = "signal 9 (Killed)", .signal = SIGKILL}); }
  bool has_ended() const override { return !rank_.ended.empty(); }
  char state() const override { return 'S'; }

 private:
  FakeRank& rank_;
};

struct Listener : GenerationListener {
  void on_token(RequestId, TokenId token, request::FinishReason reason,
                std::span<const request::TokenLogprob>) override {
    tokens.push_back(token);
    is_over = reason != request::FinishReason::kNone;
  }
  void on_failed(RequestId, const Error& error) override { failures.push_back(error); }
  std::vector<TokenId> tokens;
  std::vector<Error> failures;
  bool is_over = false;
};

// A front of two ranks that are not there, on a real loop whose time passes only when nothing else is to do.
class FrontTest : public testing::Test {
 protected:
  static FrontOptions options_of_two() {
    FrontOptions options;
    options.cluster.n_moe_layers = 1;
    options.cluster.n_experts = 4;
    options.cluster.initial_size = 2;
    options.cluster.max_size = 4;
    options.max_model_len = 64;
    options.kv_tokens = 1024;
    options.peer_timeout_ms = 600'000;
    options.identity.version = "1";
    return options;
  }
  void make() {
    front.emplace(
        loop, options, ModelInfo{.vocab_size = 1000},
        [this](auto on_exit) { return start_process(std::move(on_exit)); }, std::move(state));
  }
  void start() {
    make();
    front->start([this] { is_ready = true; }, [this](const Error& error) { fatal.push_back(error); });
  }
  void serve() {
    start();
    until([this] { return is_ready; }, "the first epoch");
  }
  // All that is to be done now.
  void settle() {
    loop.context().restart();
    loop.context().poll();
  }
  // Whatever happens on the loop until `is_so`.
  void until(const std::function<bool()>& is_so, const std::string& what) {
    const Time deadline = time.now() + std::chrono::hours(1);
    while (!is_so()) {
      loop.context().restart();
      if (loop.context().poll_one() > 0) continue;
      CHECK(!time.empty() && time.next() < deadline,
            "nothing is to happen within an hour; the test waits for {}", what);
      time.step();
    }
  }
  FakeRank& rank(std::size_t i) { return *ranks.at(i); }
  static GenerationRequest short_request(ClientId client) {
    GenerationRequest request{.client = client, .prompt_ids = {5, 6, 7}};
    request.stop.max_tokens = 16;
    return request;
  }
  RequestId submit(Listener& listener) {
    CHECK(front->reserve(1, ClientId(1)).has_value());
    return front->submit(short_request(ClientId(1)), listener).value();
  }
  // The rank that the request is on.
  FakeRank& rank_with(std::size_t n_assigned) {
    FakeRank* found = nullptr;
    until(
        [&] {
          for (const auto& rank : ranks)
            if (rank->ended.empty() && rank->assigned.size() == n_assigned) found = rank.get();
          return found != nullptr;
        },
        "a rank that was given the request");
    return *found;
  }

  Result<std::unique_ptr<launcher::RankProcess>> start_process(launcher::RankProcess::OnExit on_exit) {
    tries.push_back(time.now());
    if (!cannot_start.empty()) return fail(FrontError::kGroupLost, cannot_start);
    auto ends = transport::make_socket_pair();
    CHECK(ends.has_value());
    ranks.push_back(std::make_unique<FakeRank>(
        FakeRank{loop, std::move(on_exit), identity, options.kv_tokens / options.block_size, says}));
    FakeRank& rank = *ranks.back();
    rank.front_end = std::move(ends->first);
    rank.fd = ends->second.get();
    rank.channel =
        std::make_unique<transport::ControlChannel>(loop.context(), ends->second.release(), "the front");
    rank.channel->start([&rank](const transport::Frame& frame) { rank.hear(frame); }, [](const Error&) {});
    return std::make_unique<FakeProcess>(rank);
  }

  FrontOptions options = options_of_two();
  Schedule time;
  transport::EventLoop loop{time};
  std::unique_ptr<StateStore> state;
  std::vector<std::unique_ptr<FakeRank>> ranks;  // in the order of their starts
  BuildIdentity identity{.version = "1"};        // of those that start
  FakeRank::Says says = FakeRank::Says::kAll;
  std::string cannot_start;  // why; empty: they can
  std::vector<Time> tries;   // to start one
  bool is_ready = false, is_stopped = false;
  std::vector<Error> fatal;
  std::optional<Front> front;
};

}  // namespace concertina::front
