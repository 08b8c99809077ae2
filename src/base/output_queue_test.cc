#include "base/output_queue.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <utility>

namespace concertina {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

// Both ends of a pipe or a pair of sockets, of which the test reads when it likes.
class Ends {
 public:
  enum class Kind { kPipe, kSocket };
  explicit Ends(Kind kind) {
    if (kind == Kind::kPipe) {
      EXPECT_EQ(pipe(fds_), 0);
    } else {
      EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fds_), 0);
    }
  }
  ~Ends() {
    close(fds_[0]);
    if (fds_[1] >= 0) close(fds_[1]);
  }
  int out() const { return fds_[1]; }
  void close_out() { close(std::exchange(fds_[1], -1)); }
  std::string read_until(const std::string& mark) {
    std::string text;
    char buffer[4096];
    while (text.find(mark) == std::string::npos) {
      const ssize_t n = read(fds_[0], buffer, sizeof(buffer));
      if (n <= 0) break;
      text.append(buffer, static_cast<std::size_t>(n));
    }
    return text;
  }

 private:
  int fds_[2] = {-1, -1};
};

class OutputQueueTest : public ::testing::TestWithParam<Ends::Kind> {};

TEST_P(OutputQueueTest, ALineIsOutWhenWriteReturns) {
  Ends ends(GetParam());
  OutputQueue queue(ends.out());
  queue.write("one\n");
  EXPECT_EQ(fcntl(ends.out(), F_GETFL) & O_NONBLOCK, 0) << "others that share the descriptor notice nothing";
  EXPECT_EQ(ends.read_until("\n"), "one\n");
}

// 4 MB against a pipe of 64 kB and a queue of 1 MiB; with write(2) this test would not end.
TEST_P(OutputQueueTest, WhoWritesNeverWaitsAndWhatWasDroppedIsCountedAndSaid) {
  Ends ends(GetParam());
  OutputQueue queue(ends.out());
  constexpr int kLines = 40'000;
  for (int i = 0; i < kLines; ++i) queue.write(fmt::format("line {:>94}\n", i));
  const std::uint64_t n_dropped = queue.n_dropped();
  EXPECT_GT(n_dropped, 0u);
  EXPECT_EQ(queue.drain(std::chrono::milliseconds(1)), OutputQueue::Drained::kNo) << "nobody reads";
  const std::string mark = fmt::format("... {} lines were dropped here: nobody read them\n", n_dropped);
  const std::string text = ends.read_until(mark);
  EXPECT_THAT(text, EndsWith(mark));
  EXPECT_EQ(static_cast<std::uint64_t>(std::count(text.begin(), text.end(), '\n')), kLines - n_dropped + 1);
  EXPECT_EQ(queue.drain(std::chrono::seconds(60)), OutputQueue::Drained::kYes);
  queue.write("after\n");
  EXPECT_EQ(ends.read_until("after\n"), "after\n");
  EXPECT_EQ(queue.n_dropped(), n_dropped);
}

INSTANTIATE_TEST_SUITE_P(Kinds, OutputQueueTest, ::testing::Values(Ends::Kind::kPipe, Ends::Kind::kSocket));

TEST(OutputQueue, AQueueEndsThoughItsReaderIsStuck) {
  Ends ends(Ends::Kind::kPipe);
  OutputQueue queue(ends.out());
  for (int i = 0; i < 2'000; ++i) queue.write(std::string(99, 'x') + "\n");
}

TEST(OutputQueue, AFileIsWrittenInOrder) {
  const int fd = memfd_create("lines", 0);
  OutputQueue queue(fd);
  queue.write("one\n");
  queue.write("two\n");
  char text[16] = {};
  EXPECT_EQ(pread(fd, text, sizeof(text), 0), 8);
  EXPECT_STREQ(text, "one\ntwo\n");
  close(fd);
}

}  // namespace
}  // namespace concertina
