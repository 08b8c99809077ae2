#include "device/cuda/device.h"

#include <gmock/gmock.h>

#include <future>

#include "device/cuda/graph.h"
#include "device/cuda/test_device.h"

namespace concertina::device::cuda {
namespace {

using ::testing::HasSubstr;

// On every machine: whoever asks for a device that is not there is told what is missing.
TEST(WithoutADevice, OpeningSaysWhatIsMissing) {
  const std::string why = why_no_device();
  if (why.empty()) GTEST_SKIP() << "there is one";
  const auto device = Device::open(0);
  ASSERT_FALSE(device.has_value());
  EXPECT_EQ(device.error().message(), why.starts_with("built") ? device.error().message() : why);
  EXPECT_TRUE(device.error().is(CudaError::kNotBuilt) || device.error().is(CudaError::kNoDriver) ||
              device.error().is(CudaError::kDriverTooOld) || device.error().is(CudaError::kNoDevice) ||
              device.error().is(CudaError::kDeviceTooOld))
      << device.error().message();
}

TEST_F(OnDevice, AGpuThatIsNotThereIsNamedWithHowManyThereAre) {
  const auto device = Device::open(99);
  ASSERT_FALSE(device.has_value());
  EXPECT_TRUE(device.error().is(CudaError::kNoDevice));
  EXPECT_THAT(device.error().message(), HasSubstr("cuda:99"));
}

TEST_F(OnDevice, MoreMemoryThanThereIsIsRefusedWithHowMuchOfWhat) {
  const auto arena = Arena::create(*device_, std::size_t{1} << 50, "a test's wishes");
  ASSERT_FALSE(arena.has_value());
  EXPECT_TRUE(arena.error().is(CudaError::kOutOfMemory));
  EXPECT_THAT(arena.error().message(), HasSubstr("1048576.00 GiB"));
  EXPECT_THAT(arena.error().message(), HasSubstr("a test's wishes"));
}

TEST_F(OnDevice, AnArenaGivesPartsThatDoNotMeetUntilItIsUsedUp) {
  Arena arena = Arena::create(*device_, 1024, "a test").value();
  std::byte* const first = arena.take(300, "one").value();
  std::byte* const second = arena.take(512, "two").value();
  EXPECT_EQ(second - first, 512);
  const auto third = arena.take(1, "three");
  ASSERT_FALSE(third.has_value());
  EXPECT_THAT(third.error().message(), HasSubstr("three"));
}

TEST_F(OnDevice, WhatIsCopiedThereAndBackIsTheSame) {
  std::vector<std::uint32_t> values(100000);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<std::uint32_t>(i * 2654435761u);
  EXPECT_EQ(download(upload(values), values.size()), values);
}

// A queue that waits for the host does not end by itself.
TEST_F(OnDevice, AWaitHasADeadlineThatSaysWhatItWaitedFor) {
  std::promise<void> released;
  const auto block = [](void* promise) { static_cast<std::promise<void>*>(promise)->get_future().wait(); };
  expect_ok(queue_->call(block, &released));
  const Status status = queue_->wait("a test's work", std::chrono::milliseconds(20));
  released.set_value();
  ASSERT_FALSE(status.has_value());
  EXPECT_TRUE(status.error().is(CudaError::kTimedOut));
  EXPECT_EQ(status.error().message(), "a test's work has not ended on the GPU after 0.02 s");
  EXPECT_TRUE(queue_->wait().has_value());
}

TEST_F(OnDevice, AGraphRunsAgainWhatWasEnqueuedOnWhatLiesThereThen) {
  std::vector<std::uint32_t> values{1, 2, 3};
  std::uint32_t* const from = upload(values);
  auto* const to = room<std::uint32_t>(values.size());
  Graph graph = Graph::capture(*queue_, [&] { expect_ok(queue_->copy(to, from, 12)); }).value();
  EXPECT_NE(download(to, 3), values) << "it was recorded, not run";
  for (int i = 0; i < 2; ++i) {
    values[0] += 10;
    expect_ok(queue_->copy(from, values.data(), 12));
    expect_ok(graph.launch(*queue_));
    EXPECT_EQ(download(to, 3), values);
  }
}

TEST_F(OnDevice, EventsTellHowLongACopyTook) {
  Event before = Event::create().value(), after = Event::create().value();
  auto* const from = room<std::byte>(64 << 20);
  auto* const to = room<std::byte>(64 << 20);
  expect_ok(before.record(*queue_));
  expect_ok(queue_->copy(to, from, 64 << 20));
  expect_ok(after.record(*queue_));
  const float ms = after.ms_since(before).value();
  EXPECT_GT(ms, 0.0f);
  EXPECT_LT(ms, 1000.0f);
}

}  // namespace
}  // namespace concertina::device::cuda
