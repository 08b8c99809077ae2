#include "base/memory_limits.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

namespace concertina {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr std::uint64_t kMiB = 1 << 20;

// A /proc and a /sys of our own.
class MemoryLimitsTest : public testing::Test {
 protected:
  MemoryLimitsTest() { write("proc/meminfo", "MemTotal: 2048 kB\nMemFree: 1 kB\nMemAvailable: 1024 kB\n"); }
  ~MemoryLimitsTest() override { fs::remove_all(root); }
  void write(const fs::path& path, const std::string& text) {
    fs::create_directories((root / path).parent_path());
    std::ofstream(root / path) << text;
  }
  void group(const fs::path& path, std::uint64_t limit, std::uint64_t used, std::uint64_t cache = 0) {
    write(path / "memory.max", std::to_string(limit) + "\n");
    write(path / "memory.current", std::to_string(used) + "\n");
    write(path / "memory.stat", "anon 5\ninactive_file " + std::to_string(cache) + "\n");
  }
  std::vector<std::string> names() const {
    std::vector<std::string> names;
    for (const MemoryLimit& limit : read_memory_limits(root)) names.push_back(limit.name);
    return names;
  }
  const fs::path root = fs::temp_directory_path() / ("memory_limits_test_" + std::to_string(getpid()));
};

constexpr const char* kMount2 =
    "24 1 8:1 / / rw - ext4 /dev/sda rw\n"
    "30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";

TEST_F(MemoryLimitsTest, WithoutControlGroupsTheMachineIsTheLimit) {
  const auto limits = read_memory_limits(root);
  ASSERT_EQ(limits.size(), 1u);
  EXPECT_EQ(limits[0].bytes, 2 * kMiB);
  EXPECT_EQ(limits[0].available_bytes, kMiB);
  EXPECT_EQ(tightest_memory_limit(root)->available_bytes, kMiB);
  EXPECT_EQ(n_out_of_memory_kills(root), std::nullopt);
}

TEST_F(MemoryLimitsTest, OfVersion2EachGroupUpToTheRootCounts) {
  write("proc/self/cgroup", "0::/system.slice/concertina.service\n");
  write("proc/self/mountinfo", kMount2);
  group("sys/fs/cgroup/system.slice/concertina.service", 500'000, 300'000, 100'000);
  group("sys/fs/cgroup/system.slice", 900'000, 850'000);
  write("sys/fs/cgroup/system.slice/concertina.service/memory.events", "low 0\noom 3\noom_kill 2\n");
  const auto limits = read_memory_limits(root);
  EXPECT_THAT(names(),
              ElementsAre("this machine", "control group /system.slice/concertina.service (memory.max)",
                          "control group /system.slice (memory.max)"));
  EXPECT_EQ(limits[1].available_bytes, 300'000u) << "the cache in it can be dropped";
  EXPECT_EQ(tightest_memory_limit(root)->available_bytes, 50'000u) << "what the one above has left";
  EXPECT_EQ(tightest_memory_limit(root)->name, "control group /system.slice (memory.max)");
  EXPECT_EQ(n_out_of_memory_kills(root), 2u);
}

TEST_F(MemoryLimitsTest, AGroupWithoutALimitBoundsNothing) {
  write("proc/self/cgroup", "0::/a\n");
  write("proc/self/mountinfo", kMount2);
  write("sys/fs/cgroup/a/memory.max", "max\n");
  EXPECT_THAT(names(), ElementsAre("this machine"));
}

TEST_F(MemoryLimitsTest, OfVersion1TheMemoryHierarchyAloneIsRead) {
  write("proc/self/cgroup", "7:cpu,cpuacct:/other\n5:hugetlb,memory:/jobs/one\n1:name=systemd:/\n");
  write("proc/self/mountinfo",
        "31 25 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"
        "33 25 0:29 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n");
  write("sys/fs/cgroup/memory/jobs/one/memory.limit_in_bytes", "150000000\n");
  write("sys/fs/cgroup/memory/jobs/one/memory.usage_in_bytes", "1000\n");
  write("sys/fs/cgroup/memory/jobs/one/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 19\n");
  write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  EXPECT_THAT(names(), ElementsAre("this machine", "control group /jobs/one (memory.limit_in_bytes)"));
  EXPECT_EQ(n_out_of_memory_kills(root), 19u);
}

TEST_F(MemoryLimitsTest, InAContainerTheMountsRootIsItsOwnGroup) {
  write("proc/self/cgroup", "0::/docker/abc/worker\n");
  write("proc/self/mountinfo", "30 24 0:26 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n");
  group("sys/fs/cgroup/worker", 400'000, 0);
  group("sys/fs/cgroup", 600'000, 0);
  EXPECT_THAT(names(),
              ElementsAre("this machine", HasSubstr("/docker/abc/worker"), HasSubstr("/docker/abc (")));
}

TEST(MemoryLimits, OfThisMachineCanBeRead) {
  const auto limits = read_memory_limits();
  ASSERT_FALSE(limits.empty());
  for (const MemoryLimit& limit : limits) EXPECT_LE(limit.available_bytes, limit.bytes) << limit.name;
}

}  // namespace
}  // namespace concertina
