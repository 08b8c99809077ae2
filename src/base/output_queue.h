#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "base/time.h"

namespace concertina {

// Lines to a descriptor whose reader may stop reading (a full pipe, a terminal after Ctrl-S): who writes
// never waits. A line is written at once by the caller while the reader keeps up, so that the last words of a
// process that crashes are out; else it is kept, up to max_bytes, for a thread that waits for the reader.
// What does not fit is dropped and counted, and a line says so at its place once there is room.
//
// Not to wait, pipes and terminals are opened once more, through /proc/self/fd, without blocking: O_NONBLOCK
// on the inherited descriptor would hold for every process that shares it. Sockets have MSG_DONTWAIT. A file
// is written as it is. What cannot be opened again is left to the thread altogether.
class OutputQueue {
 public:
  explicit OutputQueue(int fd, std::size_t max_bytes = 1 << 20);
  ~OutputQueue();  // waits for nobody: drain() before, if it matters
  OutputQueue(const OutputQueue&) = delete;
  OutputQueue& operator=(const OutputQueue&) = delete;

  void write(std::string_view line);  // with its "\n"; any thread
  enum class Drained : std::uint8_t { kNo, kYes };
  Drained drain(Duration timeout);
  std::uint64_t n_dropped() const;

 private:
  struct State;
  const std::shared_ptr<State> state_;
};

// One write that does not wait: for a process that is about to end.
void write_or_drop(int fd, std::string_view text);

}  // namespace concertina
