#include "worker/kv_copy.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "base/check.h"
#include "scheduler/scheduler.h"
#include "worker/test_kv.h"

namespace concertina::worker {
namespace {

class KvCopying : public testing::Test {
 protected:
  static constexpr std::uint64_t kRequest = 31;

  KvCopyJob job(std::size_t n_tokens, std::shared_ptr<const PeerKv> source) {
    const kvcache::ReservationId reservation(7);
    target_ = taker_.take(reservation, kvcache::blocks_for(n_tokens, TestKv::kBlockSize));
    return {.reservation = reservation,
            .request = RequestId(kRequest),
            .weights = WeightsVersion(1),
            .source = std::move(source),
            .blocks = target_,
            .n_tokens = n_tokens};
  }
  KvCopyJob job(std::size_t n_tokens) { return job(n_tokens, source_.peer()); }
  static std::size_t end_of(KvCopy& copy) {
    while (copy.advance() > 0) continue;
    return copy.outcome().n_tokens;
  }
  void expect_copied(std::size_t n_blocks) {
    for (std::size_t i = 0; i < n_blocks; ++i) EXPECT_TRUE(taker_.holds(target_[i], kRequest, i)) << i;
  }

  TestKv source_{0}, taker_{1};
  std::vector<BlockId> target_;
};

TEST_F(KvCopying, AllThatIsCommittedComesThePartOfTheLastBlockToo) {
  source_.take(RequestId(1), 5);  // blocks have other numbers there and here
  source_.compute(kRequest, 41);
  KvCopy copy(taker_.memory, job(41));
  EXPECT_EQ(copy.advance(), source_.layout.blocks.block_bytes());
  EXPECT_EQ(end_of(copy), 41u);
  EXPECT_EQ(copy.outcome().reservation, kvcache::ReservationId(7));
  expect_copied(3);
}

TEST_F(KvCopying, MoreThanIsCommittedOrWantedDoesNotCount) {
  source_.compute(kRequest, 41);
  source_.records.commit(*source_.slot, 35);  // the rest is of a void step
  KvCopy more(taker_.memory, job(60));
  EXPECT_EQ(end_of(more), 35u);
  KvCopy less(taker_.memory, job(20));
  EXPECT_EQ(end_of(less), 20u);
  expect_copied(2);
}

TEST_F(KvCopying, OfARequestWithoutARecordNothingComes) {
  source_.compute(kRequest, 41);
  source_.records.close(*source_.slot);
  KvCopy copy(taker_.memory, job(41));
  EXPECT_EQ(copy.advance(), 0u);
  EXPECT_EQ(copy.outcome().n_tokens, 0u);
}

TEST_F(KvCopying, WhatOtherWeightsComputedDoesNotCome) {
  source_.records.set_weights(WeightsVersion(2));
  source_.compute(kRequest, 41);
  KvCopy copy(taker_.memory, job(41));
  EXPECT_EQ(end_of(copy), 0u);
}

// The source preempts the request in the middle of the copy and gives a block to another content: what was
// copied of it may be either's. It and all after it do not count.
TEST_F(KvCopying, FromABlockThatHasAnotherContentNowNothingCounts) {
  std::vector<BlockId> table = source_.compute(kRequest, 64);
  KvCopy copy(taker_.memory, job(64));
  copy.advance();
  source_.pool.give_back(RequestId(kRequest), table);
  const std::vector<BlockId> others = source_.take(RequestId(9), 2);  // the first two of the four
  for (const BlockId block : others) source_.fill(block, 9, 0);
  EXPECT_EQ(end_of(copy), 0u);

  table = source_.compute(kRequest + 1, 48);
  KvCopyJob second = job(48);
  second.request = RequestId(kRequest + 1);
  KvCopy again(taker_.memory, std::move(second));
  while (again.advance() > 0) continue;
  EXPECT_EQ(again.outcome().n_tokens, 48u);
}

TEST_F(KvCopying, TheBlocksBeforeItDo) {
  const std::vector<BlockId> table = source_.compute(kRequest, 64);
  KvCopy copy(taker_.memory, job(64));
  while (copy.advance() > 0) {
    if (source_.pool.n_free() == 0) continue;
    std::vector<BlockId> third{table[2]};  // as if it alone had gone
    source_.pool.give_back(RequestId(kRequest), third);
    source_.take(RequestId(9), source_.pool.n_free());
  }
  EXPECT_EQ(copy.outcome().n_tokens, 32u);
  expect_copied(2);
}

// By a real scheduler, whose older sequence needs a block and takes one of the youngest's. That step may be
// void: what it did to blocks stays.
TEST_F(KvCopying, FromASequenceThatIsPreemptedInTheMiddleNothingCounts) {
  const scheduler::Limits limits{.max_num_seqs = 2,
                                 .max_num_batched_tokens = 128,
                                 .max_model_len = 80,
                                 .block_size = TestKv::kBlockSize,
                                 .n_blocks = 5};
  const KvMemoryLayout layout{.blocks = taker_.layout.blocks, .records = scheduler::records_layout(limits)};
  const cluster::Member member{RankId(4), Incarnation(5)};
  const KvMemory memory = KvMemory::create(member, layout).value();
  scheduler::Scheduler source(limits, memory.records());
  source.set_weights(WeightsVersion(1));
  const auto add = [&](std::uint64_t id, std::size_t n_tokens) {
    request::Request request{.id = RequestId(id), .n_prompt_tokens = n_tokens};
    request.tokens.assign(n_tokens, 1);
    request.stop.max_tokens = 30;
    ASSERT_TRUE(source.add(std::move(request)));
  };
  add(9, 31), add(kRequest, 40);
  const std::vector<TokenId> drawn{5, 6};
  for (int step = 0; step < 2; ++step) source.plan(), source.commit(drawn);

  const auto peer = PeerKv::open({member, memory.address()}, layout).value();
  KvCopy undisturbed(taker_.memory, job(41, peer)), copy(taker_.memory, job(41, peer));
  EXPECT_EQ(end_of(undisturbed), 41u);
  copy.advance();
  EXPECT_EQ(source.plan().entries.size(), 1u);
  EXPECT_EQ(source.counts().n_preemptions, 1u);
  EXPECT_EQ(end_of(copy), 0u);
}

// Another process, which is killed in the middle.
TEST_F(KvCopying, GoesOnWhenItsSourceIsKilled) {
  int fds[2];
  ASSERT_EQ(pipe(fds), 0);
  const transport::FileDescriptor reading(fds[0]), writing(fds[1]);
  const pid_t owner = fork();
  if (owner == 0) {
    TestKv kv(3);
    kv.compute(kRequest, 60);
    const std::string place = kv.memory.address().bytes;
    if (write(writing.get(), place.data(), place.size()) != static_cast<ssize_t>(place.size())) _exit(1);
    for (;;) ::pause();
  }
  cluster::LinkAddress address{cluster::LinkKind::kSharedMemory, std::string(8, '\0')};
  ASSERT_EQ(read(reading.get(), address.bytes.data(), 8), 8);
  auto peer = PeerKv::open({{RankId(3), Incarnation(103)}, address}, taker_.layout);
  ASSERT_TRUE(peer) << peer.error().message();
  KvCopy copy(taker_.memory, job(60, std::move(*peer)));
  copy.advance();
  ASSERT_EQ(kill(owner, SIGKILL), 0);
  ASSERT_EQ(waitpid(owner, nullptr, 0), owner);
  EXPECT_EQ(end_of(copy), 60u);
  expect_copied(4);
}

}  // namespace
}  // namespace concertina::worker
