// What `serve --device` says where it cannot have a GPU.
#include <gmock/gmock.h>

#include <cstdlib>

#include "tests/harness/server_process.h"

namespace concertina {
namespace {

using ::testing::HasSubstr;

std::string refusal(std::vector<std::string> flags) {
  std::vector<std::string> arguments{"serve", CONCERTINA_SOURCE_DIR "/models/demo", "--port", "0"};
  arguments.insert(arguments.end(), flags.begin(), flags.end());
  const auto finished = harness::run_to_end(CONCERTINA_BINARY, arguments);
  EXPECT_EQ(finished.exit_code, 1) << finished.output;
  return finished.output;
}

TEST(GpuRefusal, AnUnknownDeviceIsNamedWithThoseThereAre) {
  EXPECT_THAT(refusal({"--device", "tpu"}),
              HasSubstr("--device is \"tpu\", and must be cpu, cuda or cuda:N"));
}

TEST(GpuRefusal, AShareIsAboveZeroAndOneAtMost) {
  for (const char* share : {"0", "1.01", "-0.5", "half", "nan", ""})
    EXPECT_THAT(refusal({"--gpu-memory-utilization", share}), HasSubstr("--gpu-memory-utilization")) << share;
}

// The runtime asks the driver for its version, and gets it from tests/old_driver.cc.
TEST(GpuRefusal, ADriverOlderThanTheToolkitIsSaidWithBothVersions) {
  setenv("LD_LIBRARY_PATH", OLD_DRIVER_FOLDER, 1);
  const std::string said = refusal({"--device", "cuda"});
  unsetenv("LD_LIBRARY_PATH");
  if (said.find("built without CUDA") != std::string::npos) GTEST_SKIP() << "skipped: built without CUDA";
  EXPECT_THAT(said, HasSubstr("--device cuda: "));
  EXPECT_THAT(said, HasSubstr("the NVIDIA driver knows CUDA 12.4, and this binary needs 13."));
}

}  // namespace
}  // namespace concertina
