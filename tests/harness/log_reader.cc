#include "tests/harness/log_reader.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <array>

#include "base/check.h"
#include "tests/harness/server_process.h"

namespace concertina::harness {

LogReader::LogReader(const std::filesystem::path& log) {
  int ends[2];
  CHECK(pipe2(ends, O_CLOEXEC) == 0, "cannot make a pipe for the log");
  read_end_ = ends[0], write_end_ = ends[1];
  CHECK(fcntl(write_end_, F_SETPIPE_SZ, 4096) >= 0, "cannot make the log's pipe small");
  file_ = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  CHECK(file_ >= 0, "cannot write {}", log.string());
  thread_ = std::thread([this] { run(); });
}

LogReader::~LogReader() {
  is_over_ = true;
  thread_.join();
  close_write_end();
  close(read_end_);
  close(file_);
}

void LogReader::close_write_end() {
  if (write_end_ >= 0) close(write_end_);
  write_end_ = -1;
}

// Polls, since a server's ranks may hold the pipe open after it.
void LogReader::run() {
  while (!is_over_) {
    pollfd readable{.fd = read_end_, .events = POLLIN, .revents = 0};
    if (is_paused_) {
      pause_between_polls();
    } else if (poll(&readable, 1, 20) > 0 && !copy_some()) {
      return;
    }
  }
}

bool LogReader::copy_some() {
  std::array<char, 4096> buffer;
  const ssize_t n = read(read_end_, buffer.data(), buffer.size());
  if (n <= 0) return false;
  CHECK(write(file_, buffer.data(), static_cast<std::size_t>(n)) == n, "cannot write the log");
  return true;
}

}  // namespace concertina::harness
