#include "worker/worker.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <csignal>

#include "base/check.h"
#include "transport/codec.h"
#include "transport/control_channel.h"
#include "transport/event_loop.h"
#include "worker/identity.h"

namespace concertina::worker {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

// A real rank in a process of its own; the front is this test, at the other end of its control channel.
class WorkerTest : public testing::Test {
 protected:
  // `parent`: what it is told; 0: the truth.
  void start(pid_t parent = 0) {
    failure_.clear();
    auto ends = transport::make_socket_pair();
    ASSERT_TRUE(ends);
    const pid_t truth = getpid();
    pid_ = fork();
    if (pid_ == 0) {
      ends->first.reset();
      alarm(60);  // a rank that does not end by itself is a failure, not a test that hangs
      _exit(run_worker(ends->second.release(), parent == 0 ? truth : parent));
    }
    ends->second.reset();
    front_ = std::make_unique<transport::ControlChannel>(loop_.context(), ends->first.release(), "rank 0");
    front_->start([this](const transport::Frame& frame) { hear(frame); },
                  [this](const Error&) { loop_.stop(); });
  }
  ~WorkerTest() override {
    if (pid_ > 0) kill(pid_, SIGKILL), waitpid(pid_, nullptr, 0);
  }

  static transport::Frame configure() {
    transport::Frame frame;
    transport::Configure& configure = *frame.mutable_configure();
    configure.set_incarnation(1);
    configure.set_model_path(CONCERTINA_SOURCE_DIR "/tests/fixtures/qwen3_moe");
    configure.set_load_format("auto");
    configure.set_kv_cache_bytes(1 << 20);
    configure.set_max_model_len(64);
    configure.set_max_num_seqs(2);
    configure.set_max_num_batched_tokens(8);
    configure.set_block_size(4);
    configure.set_replay_chunk_tokens(8);
    configure.set_max_ranks(2);
    configure.set_peer_timeout_ms(60'000);
    configure.set_quantization("none");
    configure.set_activation_dtype("float32");
    configure.set_log_level("off");
    return frame;
  }
  void hear(const transport::Frame& frame) {
    const auto message = transport::from_rank_of(frame, {RankId(0), Incarnation(1)});
    ASSERT_TRUE(message) << message.error().message();
    if (const auto* failed = std::get_if<cluster::RankFailed>(&*message)) failure_ = failed->error;
    if (const auto* hello = std::get_if<cluster::RankHello>(&*message)) {
      hello_ = *hello;
      front_->send(transport::frame_of(cluster::Release{}));
    }
  }
  // What it says until its channel closes, and then how it ends: the exit code, or -signal.
  int end() {
    loop_.run();
    int status = 0;
    waitpid(std::exchange(pid_, -1), &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }

  transport::EventLoop loop_;
  std::unique_ptr<transport::ControlChannel> front_;
  pid_t pid_ = -1;
  std::optional<cluster::RankHello> hello_;
  std::string failure_;
};

TEST_F(WorkerTest, SaysWhatItIsAndHasRoomForAndEndsWhenReleased) {
  start();
  front_->send(configure());
  EXPECT_EQ(end(), 0);
  ASSERT_TRUE(hello_) << failure_;
  EXPECT_GT(hello_->kv_blocks_total, 0u);
  EXPECT_EQ(hello_->block_size, 4u);
  EXPECT_EQ(hello_->max_num_seqs, 2u);
  EXPECT_EQ(describe_difference(own_identity(device::best_instruction_set()), hello_->identity), "");
  EXPECT_THAT(hello_->identity.kernel_digest, Not(IsEmpty()));
}

TEST_F(WorkerTest, WhileItLoadsItMayBeToldHowAnotherEnded) {
  start();
  front_->send(configure());
  front_->send(transport::frame_of(
      cluster::SourceEnded{{RankId(1), Incarnation(1)}, cluster::SourceEnded::Trust::kYes}));
  EXPECT_EQ(end(), 0);
  EXPECT_TRUE(hello_) << failure_;
}

TEST_F(WorkerTest, OfWhatItCannotDoItSaysWhy) {
  const std::vector<std::pair<std::function<void(transport::Configure&)>, std::string>> wishes{
      {[](auto& wish) { wish.set_model_path("/nowhere"); }, "/nowhere"},
      {[](auto& wish) { wish.set_instruction_set("mmx"); }, "unknown instruction set \"mmx\""},
      {[](auto& wish) { wish.set_quantization("int3"); }, "int3"},
      {[](auto& wish) { wish.set_activation_dtype("fp4"); }, "fp4"},
      {[](auto& wish) { wish.set_checkpoint_fingerprint("other"); }, "checkpoint"}};
  for (const auto& [make_wrong, what] : wishes) {
    transport::Frame frame = configure();
    make_wrong(*frame.mutable_configure());
    start();
    front_->send(frame);
    EXPECT_EQ(end(), 1) << what;
    EXPECT_THAT(failure_, HasSubstr(what));
    EXPECT_FALSE(hello_);
    loop_.context().restart();
  }
}

TEST_F(WorkerTest, ReleasedBeforeItWasConfiguredItEndsInOrder) {
  start();
  front_->send(transport::frame_of(cluster::Release{}));
  EXPECT_EQ(end(), 0);
}

TEST_F(WorkerTest, EndsWithTheFrontThatStartedIt) {
  start();
  front_->close();
  loop_.post([this] { loop_.stop(); });
  EXPECT_EQ(end(), 1);
}

TEST_F(WorkerTest, WhoseFrontHasEndedAlreadyDoesNotBegin) {
  start(1);  // not its parent
  EXPECT_EQ(end(), 1);
}

TEST(Identity, IsThatOfTheProgramAndOfTheInstructionSetInUse) {
  const BuildIdentity mine = own_identity(device::InstructionSet::kPortable);
  EXPECT_EQ(mine.version, CONCERTINA_VERSION);
  EXPECT_EQ(mine.instruction_set, "portable");
  EXPECT_EQ(mine, own_identity(device::InstructionSet::kPortable));
}

}  // namespace
}  // namespace concertina::worker
