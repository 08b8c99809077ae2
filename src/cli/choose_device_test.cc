#include "cli/choose_device.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "device/cuda/device.h"

namespace concertina::cli {
namespace {

using ::testing::HasSubstr;

front::FrontOptions on(const char* device) {
  front::FrontOptions options;
  options.device = device;
  return options;
}

TEST(ChooseDevice, TheCpuIsThereAndChangesNothing) {
  front::FrontOptions options = on("cpu");
  EXPECT_TRUE(choose_device(options).has_value());
  EXPECT_EQ(options.cluster.max_size, front::FrontOptions{}.cluster.max_size);
}

TEST(ChooseDevice, AnUnknownDeviceIsNamedWithThoseThereAre) {
  for (const char* device :
       {"gpu", "cuda:", "cuda:x", "cuda:-1", "cuda:1x", "cuda:99999999999", "CUDA", ""}) {
    front::FrontOptions options = on(device);
    const Status status = choose_device(options);
    ASSERT_FALSE(status.has_value()) << device;
    EXPECT_THAT(status.error().message(), HasSubstr("cpu, cuda or cuda:N")) << device;
  }
}

TEST(ChooseDevice, WithoutAGpuItIsSaidWhatIsMissing) {
  if (device::cuda::why_no_device().empty()) GTEST_SKIP() << "there is one";
  front::FrontOptions options = on("cuda");
  const Status status = choose_device(options);
  ASSERT_FALSE(status.has_value());
  EXPECT_THAT(status.error().message(), HasSubstr("--device cuda: "));
  EXPECT_THAT(status.error().message(),
              ::testing::AnyOf(HasSubstr("NVIDIA driver"), HasSubstr("built without CUDA"), HasSubstr("GPU"),
                               HasSubstr("compute capability")));
}

TEST(ChooseDevice, AGroupOfSeveralRanksIsRefusedByItsFlag) {
  if (const std::string why = device::cuda::why_no_device(); !why.empty())
    GTEST_SKIP() << "skipped: no CUDA device (" << why << ")";
  front::FrontOptions options = on("cuda:0");
  options.cluster.initial_size = 2;
  const Status status = choose_device(options);
  ASSERT_FALSE(status.has_value());
  EXPECT_THAT(status.error().message(), HasSubstr("--data-parallel-size is 2"));
}

TEST(ChooseDevice, OneRankIsAllThatThereMayBe) {
  if (const std::string why = device::cuda::why_no_device(); !why.empty())
    GTEST_SKIP() << "skipped: no CUDA device (" << why << ")";
  front::FrontOptions options = on("cuda:0");
  ASSERT_TRUE(choose_device(options).has_value());
  EXPECT_EQ(options.cluster.max_size, 1u);
}

TEST(ChooseDevice, WeightsInInt8AreForACpu) {
  front::FrontOptions options = on("cuda");
  options.form.quantization = "int8";
  const Status status = check_form_on(options);
  ASSERT_FALSE(status.has_value());
  EXPECT_THAT(status.error().message(), HasSubstr("--quantization is int8"));
  options.device = "cpu";
  EXPECT_TRUE(check_form_on(options).has_value());
}

}  // namespace
}  // namespace concertina::cli
