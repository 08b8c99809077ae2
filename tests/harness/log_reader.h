#pragma once

#include <atomic>
#include <filesystem>
#include <thread>

namespace concertina::harness {

// The end of a pipe of one page to which a server writes its log, and the thread that copies it to a file,
// except while it is told to pause.
class LogReader {
 public:
  explicit LogReader(const std::filesystem::path& log);
  ~LogReader();
  int write_end() const { return write_end_; }
  void close_write_end();  // once the server has it
  void pause() { is_paused_ = true; }
  void resume() { is_paused_ = false; }

 private:
  void run();
  bool copy_some();  // false at the end of the log

  int read_end_ = -1, write_end_ = -1, file_ = -1;
  std::atomic<bool> is_paused_{false}, is_over_{false};
  std::thread thread_;
};

}  // namespace concertina::harness
