#include "base/output_queue.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <climits>
#include <condition_variable>
#include <csignal>
#include <deque>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

namespace concertina {

namespace {

// How one descriptor is written to without waiting.
class Sink {
 public:
  explicit Sink(int fd) : fd_(fd) {
    struct stat status {};
    if (fstat(fd, &status) != 0 || S_ISREG(status.st_mode)) return;
    if (S_ISSOCK(status.st_mode)) {
      kind_ = Kind::kSocket;
      return;
    }
    own_fd_ = open(fmt::format("/proc/self/fd/{}", fd).c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    kind_ = own_fd_ >= 0 ? Kind::kReopened : Kind::kBlocks;
  }
  ~Sink() {
    if (own_fd_ >= 0) close(own_fd_);
  }
  Sink(const Sink&) = delete;
  Sink& operator=(const Sink&) = delete;

  bool may_block() const { return kind_ == Kind::kBlocks; }
  int fd() const { return own_fd_ >= 0 ? own_fd_ : fd_; }
  // As write(2). The kind kBlocks waits.
  ssize_t write(std::string_view text) const {
    if (kind_ == Kind::kSocket) return send(fd_, text.data(), text.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    return ::write(fd(), text.data(), text.size());
  }

 private:
  const int fd_;
  int own_fd_ = -1;
  enum class Kind : std::uint8_t { kFile, kReopened, kSocket, kBlocks } kind_ = Kind::kFile;
};

bool would_block() { return errno == EAGAIN || errno == EWOULDBLOCK; }

}  // namespace

struct OutputQueue::State {
  State(int fd, std::size_t max_bytes)
      : sink(fd), max_bytes(max_bytes), stop_event(eventfd(0, EFD_CLOEXEC)) {}
  ~State() { close(stop_event); }

  void keep(std::string_view line);
  void write_kept();                                   // as far as it goes without waiting
  void write_one(std::unique_lock<std::mutex>& lock);  // waits, unlocked
  void run();
  void take_written(std::size_t n_bytes);
  void note_dropped();

  const Sink sink;
  const std::size_t max_bytes;
  const int stop_event;
  mutable std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::string> lines;  // the first may be written in part
  std::size_t n_bytes = 0;
  std::uint64_t n_dropped = 0, n_unsaid = 0;  // unsaid: dropped, and no line tells of it yet
  enum class Life : std::uint8_t { kRuns, kStops } life = Life::kRuns;
};

// After a drop it takes lines again only when half is out: else each line that fits would bring its own note.
void OutputQueue::State::keep(std::string_view line) {
  if (n_bytes + line.size() > max_bytes || (n_unsaid > 0 && n_bytes > max_bytes / 2)) {
    ++n_dropped;
    ++n_unsaid;
    return;
  }
  note_dropped();
  lines.emplace_back(line);
  n_bytes += line.size();
}

void OutputQueue::State::note_dropped() {
  if (n_unsaid == 0) return;
  lines.push_back(
      fmt::format("... {} lines were dropped here: nobody read them\n", std::exchange(n_unsaid, 0)));
  n_bytes += lines.back().size();
}

void OutputQueue::State::take_written(std::size_t n) {
  n_bytes -= n;
  lines.front().erase(0, n);
  if (lines.front().empty()) lines.pop_front();
  if (lines.empty()) note_dropped();
  if (lines.empty()) changed.notify_all();
}

void OutputQueue::State::write_kept() {
  while (!lines.empty()) {
    const ssize_t n = sink.write(lines.front());
    if (n < 0 && would_block()) return;
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) ++n_dropped;  // a reader that left, a full disk: there is nobody to tell
    take_written(n < 0 ? lines.front().size() : static_cast<std::size_t>(n));
  }
}

void OutputQueue::State::write_one(std::unique_lock<std::mutex>& lock) {
  const std::string line = lines.front();
  lock.unlock();
  const ssize_t n = sink.write(line);
  const int error = errno;
  lock.lock();
  if (n < 0 && error == EINTR) return;
  if (n < 0) ++n_dropped;
  take_written(n < 0 ? line.size() : static_cast<std::size_t>(n));
}

void OutputQueue::State::run() {
  constexpr int kSomeMs = 20;  // a terminal may say that it can be written to, and then take nothing
  std::unique_lock lock(mutex);
  while (true) {
    changed.wait(lock, [this] { return life == Life::kStops || !lines.empty(); });
    if (life == Life::kStops) return;
    if (sink.may_block()) {
      write_one(lock);
      continue;
    }
    const std::size_t n_before = n_bytes;
    write_kept();
    if (lines.empty()) continue;
    const bool stuck = n_bytes == n_before;
    lock.unlock();
    pollfd waits[] = {{.fd = stop_event, .events = POLLIN, .revents = 0},
                      {.fd = sink.fd(), .events = POLLOUT, .revents = 0}};
    poll(waits, 2, -1);
    if (stuck && waits[1].revents != 0) poll(waits, 1, kSomeMs);
    lock.lock();
  }
}

OutputQueue::OutputQueue(int fd, std::size_t max_bytes) : state_(std::make_shared<State>(fd, max_bytes)) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);  // signals are for the thread that started this one
  std::thread([state = state_] { state->run(); }).detach();
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

OutputQueue::~OutputQueue() {
  const std::lock_guard lock(state_->mutex);
  state_->life = State::Life::kStops;
  state_->changed.notify_all();
  const std::uint64_t one = 1;
  (void)::write(state_->stop_event, &one, sizeof(one));
}

void OutputQueue::write(std::string_view line) {
  State& s = *state_;
  const std::lock_guard lock(s.mutex);
  if (s.lines.empty() && !s.sink.may_block()) {
    const ssize_t n = s.sink.write(line);
    if (n == static_cast<ssize_t>(line.size())) return;
    if (n < 0 && !would_block() && errno != EINTR) {
      ++s.n_dropped;
      return;
    }
    if (n > 0) line.remove_prefix(static_cast<std::size_t>(n));
  }
  s.keep(line);
  s.changed.notify_all();
}

OutputQueue::Drained OutputQueue::drain(Duration timeout) {
  std::unique_lock lock(state_->mutex);
  const bool is_empty = state_->changed.wait_for(lock, timeout, [this] { return state_->lines.empty(); });
  return is_empty ? Drained::kYes : Drained::kNo;
}

std::uint64_t OutputQueue::n_dropped() const {
  const std::lock_guard lock(state_->mutex);
  return state_->n_dropped;
}

void write_or_drop(int fd, std::string_view text) {
  const Sink sink(fd);
  pollfd room{.fd = fd, .events = POLLOUT, .revents = 0};
  // Of a pipe it means that a page is free: enough for these words, if nobody else takes it right now.
  if (sink.may_block() && poll(&room, 1, 0) != 1) return;
  (void)sink.write(text.substr(0, PIPE_BUF));
}

}  // namespace concertina
