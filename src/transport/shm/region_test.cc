#include "transport/shm/region.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>

namespace concertina::transport {
namespace {

using testing::HasSubstr;
constexpr std::size_t kBodyBytes = 1 << 20;
const RegionIdentity kIdentity{RankId(3), Incarnation(17), {8, 16, 2, 64}};

std::size_t n_entries(const char* folder) {
  return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(folder), {}));
}

void expect_refused(const RegionIdentity& expected, std::size_t body_bytes, const std::string& field) {
  const Result<Region> region = Region::create(kIdentity, kBodyBytes);
  ASSERT_TRUE(region) << region.error().message();
  const auto peer = PeerRegion::open({getpid(), region->fd()}, expected, body_bytes);
  ASSERT_FALSE(peer);
  EXPECT_TRUE(peer.error().is(TransportError::kWrongRegion)) << peer.error().message();
  EXPECT_THAT(peer.error().message(), HasSubstr(field));
}

TEST(Region, APeerReadsWhatTheOwnerWrites) {
  const Result<Region> region = Region::create(kIdentity, kBodyBytes);
  ASSERT_TRUE(region) << region.error().message();
  const auto peer = PeerRegion::open({getpid(), region->fd()}, kIdentity, kBodyBytes);
  ASSERT_TRUE(peer) << peer.error().message();
  EXPECT_EQ(region->body().size(), kBodyBytes);
  ASSERT_EQ(peer->body().size(), kBodyBytes);
  EXPECT_NE(static_cast<const void*>(peer->body().data()), region->body().data());
  EXPECT_EQ(peer->body()[12345], std::byte{0});
  region->body()[12345] = std::byte{42};
  EXPECT_EQ(peer->body()[12345], std::byte{42});
}

TEST(Region, AnotherProcessReadsItAndWakesTheOwner) {
  const Result<Region> region = Region::create(kIdentity, kBodyBytes);
  ASSERT_TRUE(region);
  region->body()[7] = std::byte{9};
  int fds[2];
  ASSERT_EQ(pipe2(fds, O_NONBLOCK), 0);
  const FileDescriptor reading(fds[0]), writing(fds[1]);
  const pid_t owner = getpid(), child = fork();
  if (child == 0) {  // by /proc, as any other process would
    const auto peer = PeerRegion::open({owner, region->fd()}, kIdentity, kBodyBytes);
    if (!peer || write(writing.get(), &peer->body()[7], 1) != 1) _exit(1);
    peer->doorbell().ring();
    _exit(0);
  }
  std::byte seen{0};
  const std::atomic<bool> no_abort{false};
  const auto ready = [&] { return read(reading.get(), &seen, 1) == 1; };
  EXPECT_EQ(region->doorbell().wait(ready, Doorbell::now() + std::chrono::seconds(20), no_abort),
            WaitResult::kReady);
  EXPECT_EQ(seen, std::byte{9});
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

TEST(Region, TheKernelRefusesASecondWriter) {
  const Result<Region> region = Region::create(kIdentity, kBodyBytes);
  ASSERT_TRUE(region);
  const std::string path = "/proc/self/fd/" + std::to_string(region->fd());
  const FileDescriptor fd(open(path.c_str(), O_RDWR | O_CLOEXEC));
  ASSERT_GE(fd.get(), 0);
  EXPECT_FALSE(Mapping::of_file(fd.get(), kBodyBytes, Access::kReadWrite, "a peer's memory"));
  const char byte = 1;
  EXPECT_EQ(pwrite(fd.get(), &byte, 1, 0), -1);
  EXPECT_EQ(ftruncate(fd.get(), 0), -1);
}

TEST(Region, UntouchedPagesCostNothing) {
  constexpr std::size_t kLarge = std::size_t{4} << 30;
  const Result<Region> region = Region::create(kIdentity, kLarge);
  ASSERT_TRUE(region) << region.error().message();
  region->prefault(kLarge - 8192, 8192);
  struct stat status {};
  ASSERT_EQ(fstat(region->fd(), &status), 0);
  EXPECT_LE(status.st_blocks * 512, 64 * 4096);
}

TEST(Region, APeerThatIsAnotherIsRefusedByName) {
  RegionIdentity other = kIdentity;
  other.rank = RankId(4);
  expect_refused(other, kBodyBytes, "rank is 3, expected 4");
  other = kIdentity;
  other.incarnation = Incarnation(18);
  expect_refused(other, kBodyBytes, "incarnation is 17, expected 18");
  other = kIdentity;
  other.use = RegionUse::kKv;
  expect_refused(other, kBodyBytes, "the KV memory of rank 3 (incarnation 17) in process");
  expect_refused(other, kBodyBytes, "use is 0, expected 1");
  other = kIdentity;
  other.layout[1] = 32;
  expect_refused(other, kBodyBytes, "layout is [8, 16, 2, 64], expected [8, 32, 2, 64]");
  expect_refused(kIdentity, 2 * kBodyBytes, "body_bytes is 1048576, expected 2097152");
}

TEST(Region, ForKvIsFoundByItsAddressAndHasNoDoorbell) {
  RegionIdentity identity = kIdentity;
  identity.use = RegionUse::kKv;
  const std::size_t before = n_entries("/proc/self/fd");
  const Result<Region> region = Region::create(identity, kBodyBytes);
  ASSERT_TRUE(region);
  EXPECT_EQ(n_entries("/proc/self/fd"), before + 1);
  region->body()[99] = std::byte{5};
  const auto place = place_of(region->address());
  ASSERT_TRUE(place);
  EXPECT_EQ(place->pid, getpid());
  const auto peer = PeerRegion::open(*place, identity, kBodyBytes);
  ASSERT_TRUE(peer) << peer.error().message();
  EXPECT_EQ(peer->body()[99], std::byte{5});
  EXPECT_FALSE(place_of({cluster::LinkKind::kNone, region->address().bytes}));
  EXPECT_FALSE(place_of({cluster::LinkKind::kSharedMemory, "123"}));
}

// An end without warning: what it wrote is read on, also when it is reaped.
TEST(Region, WhatAKilledProcessWroteIsReadOn) {
  int fds[2];
  ASSERT_EQ(pipe(fds), 0);
  const FileDescriptor reading(fds[0]), writing(fds[1]);
  const pid_t owner = fork();
  if (owner == 0) {
    const Result<Region> region = Region::create(kIdentity, kBodyBytes);
    if (!region) _exit(1);
    for (std::size_t i = 0; i < kBodyBytes; ++i) region->body()[i] = static_cast<std::byte>(i % 251);
    const int fd = region->fd();
    if (write(writing.get(), &fd, sizeof(fd)) != sizeof(fd)) _exit(1);
    for (;;) pause();
  }
  int fd = -1;
  ASSERT_EQ(read(reading.get(), &fd, sizeof(fd)), static_cast<ssize_t>(sizeof(fd)));
  const auto peer = PeerRegion::open({owner, fd}, kIdentity, kBodyBytes);
  ASSERT_TRUE(peer) << peer.error().message();
  ASSERT_EQ(kill(owner, SIGKILL), 0);
  int status = 0;
  ASSERT_EQ(waitpid(owner, &status, 0), owner);
  ASSERT_TRUE(WIFSIGNALED(status));
  std::size_t n_wrong = 0;
  for (std::size_t i = 0; i < kBodyBytes; ++i) n_wrong += peer->body()[i] != static_cast<std::byte>(i % 251);
  EXPECT_EQ(n_wrong, 0u);
  EXPECT_FALSE(PeerRegion::open({owner, fd}, kIdentity, kBodyBytes)) << "nobody can map it any more";
}

TEST(Region, WhatIsNoRegionIsRefused) {
  const FileDescriptor empty(memfd_create("empty", MFD_CLOEXEC));
  auto peer = PeerRegion::open({getpid(), empty.get()}, kIdentity, kBodyBytes);
  ASSERT_FALSE(peer);
  EXPECT_THAT(peer.error().message(), HasSubstr("no header"));
  ASSERT_EQ(ftruncate(empty.get(), 8192), 0);
  peer = PeerRegion::open({getpid(), empty.get()}, kIdentity, kBodyBytes);
  ASSERT_FALSE(peer);
  EXPECT_THAT(peer.error().message(), HasSubstr("magic"));
  peer = PeerRegion::open({getpid(), 9999}, kIdentity, kBodyBytes);
  ASSERT_FALSE(peer);
  EXPECT_TRUE(peer.error().is(TransportError::kPeerUnreachable));
  EXPECT_THAT(peer.error().message(), HasSubstr("rank 3 (incarnation 17)"));
}

TEST(Region, APeerWhoseProcessHasEndedIsUnreachableBeforeAndAfterItIsReaped) {
  const Result<Region> region = Region::create(kIdentity, kBodyBytes);
  ASSERT_TRUE(region);
  const pid_t child = fork();
  if (child == 0) _exit(0);
  siginfo_t info{};
  ASSERT_EQ(waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT), 0);
  for (int reaped = 0; reaped < 2; ++reaped) {
    const auto peer = PeerRegion::open({child, region->fd()}, kIdentity, kBodyBytes);
    ASSERT_FALSE(peer);
    EXPECT_TRUE(peer.error().is(TransportError::kPeerUnreachable)) << peer.error().message();
    waitpid(child, nullptr, 0);
  }
}

TEST(Region, MemoryThatItsOwnerCouldShrinkIsRefused) {
  const Result<Region> region = Region::create(kIdentity, kBodyBytes);
  ASSERT_TRUE(region);
  const FileDescriptor copy(memfd_create("copy", MFD_CLOEXEC));
  ASSERT_EQ(ftruncate(copy.get(), static_cast<off_t>(kBodyBytes + 4096)), 0);
  ASSERT_EQ(pwrite(copy.get(), region->body().data() - 4096, 4096, 0), 4096);
  const auto peer = PeerRegion::open({getpid(), copy.get()}, kIdentity, kBodyBytes);
  ASSERT_FALSE(peer);
  EXPECT_THAT(peer.error().message(), HasSubstr("sealed size"));
}

TEST(Region, TooMuchMemoryIsAnErrorNotACrash) {
  const auto region = Region::create(kIdentity, std::size_t{1} << 60);
  ASSERT_FALSE(region);
  EXPECT_THAT(region.error().message(), HasSubstr("rank 3"));
}

TEST(Region, LeavesNoDescriptorBehind) {
  const std::size_t fds = n_entries("/proc/self/fd"), maps = n_entries("/proc/self/map_files");
  for (int i = 0; i < 20; ++i) {
    const Result<Region> region = Region::create(kIdentity, kBodyBytes);
    const auto peer = PeerRegion::open({getpid(), region->fd()}, kIdentity, kBodyBytes);
    const auto refused = PeerRegion::open({getpid(), region->fd()}, kIdentity, 1);
    ASSERT_TRUE(peer && !refused);
  }
  EXPECT_EQ(n_entries("/proc/self/fd"), fds);
  EXPECT_LE(n_entries("/proc/self/map_files"), maps + 4)
      << "the heap may have grown; 20 regions may not be left";
}

}  // namespace
}  // namespace concertina::transport
