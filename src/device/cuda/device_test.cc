#include "device/cuda/device.h"

#include <gmock/gmock.h>

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
