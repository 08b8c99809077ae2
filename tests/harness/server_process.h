#pragma once

#include <sys/types.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "tests/harness/log_reader.h"

namespace concertina::harness {

enum class HarnessError { kNotStarted, kTimeout };

struct ServerOptions {
  std::filesystem::path binary;
  std::vector<std::string> arguments;  // after "serve"; --port 0 is added
  enum class Group : std::uint8_t {
    kOurs,
    kOwn
  } group = Group::kOurs;  // kOwn: a process group as a shell makes one
  enum class Log : std::uint8_t { kFile, kPipe } log = Log::kFile;  // kPipe: its reader can be stopped
};

// A real `concertina serve` as a child, on a free port; its log is kept. Killed, ranks and all, when
// destroyed.
class ServerProcess {
 public:
  // Returns when it listens (ranks may still be loading), or with its log in the error when it ended before.
  static Result<std::unique_ptr<ServerProcess>> start(const ServerOptions& options);
  ~ServerProcess();

  const std::string& url() const { return url_; }
  pid_t pid() const { return pid_; }
  std::string log() const;
  LogReader* log_reader() { return log_reader_.get(); }  // null without Log::kPipe
  Status wait_ready(Duration timeout = std::chrono::seconds(60)) const;
  void signal(int number) const;
  // The exit code; 128 + signal if one ended it.
  Result<int> wait_exit(Duration timeout = std::chrono::seconds(60));

 private:
  ServerProcess() = default;
  pid_t pid_ = -1;
  std::string url_;
  std::filesystem::path log_path_;
  std::unique_ptr<LogReader> log_reader_;
};

// Runs the binary to its end, for what fails at once. Exit code and everything it wrote.
struct Finished {
  int exit_code = -1;
  std::string output;
};
Finished run_to_end(const std::filesystem::path& binary, const std::vector<std::string>& arguments);

bool is_alive(pid_t pid);  // exists and is not a zombie
// Polls until condition() holds; false at the deadline.
template <typename Condition>
bool eventually(const Condition& condition, Duration timeout = std::chrono::seconds(60));

void pause_between_polls();

template <typename Condition>
bool eventually(const Condition& condition, Duration timeout) {
  const Time deadline = std::chrono::steady_clock::now() + timeout;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    pause_between_polls();
  }
  return true;
}

}  // namespace concertina::harness
