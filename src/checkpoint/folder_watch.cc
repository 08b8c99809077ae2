#include "checkpoint/folder_watch.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "base/check.h"
#include "checkpoint/error.h"

namespace concertina::checkpoint {

namespace {
constexpr int kLookEveryMs = 1000;
constexpr std::uint32_t kFolderEvents =
    IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR;
// IN_ATTRIB: also when the last name of the file that a link led to goes.
constexpr std::uint32_t kFileEvents = IN_MODIFY | IN_ATTRIB | IN_CLOSE_WRITE | IN_DELETE_SELF | IN_MOVE_SELF;
}  // namespace

FolderWatch::FolderWatch(std::filesystem::path folder, std::string expected,
                         std::function<void(const std::string&)> on_change, Files which)
    : folder_(std::move(folder)),
      which_(which),
      expected_(std::move(expected)),
      expected_times_(file_times_in(expected_)),
      on_change_(std::move(on_change)),
      inotify_fd_(inotify_init1(IN_CLOEXEC | IN_NONBLOCK)),
      wake_fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  CHECK(wake_fd_ >= 0, "eventfd: {}", strerror(errno));
  watch_files();
  thread_ = std::thread([this] { run(); });
}

FolderWatch::~FolderWatch() {
  {
    const std::lock_guard lock(mutex_);
    state_ = State::kStopping;
  }
  wake();
  thread_.join();
  close(wake_fd_);
  if (inotify_fd_ >= 0) close(inotify_fd_);
}

void FolderWatch::look(std::function<void()> looked) {
  {
    const std::lock_guard lock(mutex_);
    if (state_ == State::kWatching) {
      looked_.push_back(std::move(looked));
      return wake();
    }
  }
  looked();
}

void FolderWatch::wake() const {
  const std::uint64_t one = 1;
  CHECK(write(wake_fd_, &one, sizeof(one)) == sizeof(one), "eventfd: {}", strerror(errno));
}

// Best effort: what cannot be watched is looked at every second.
void FolderWatch::watch_files() const {
  if (inotify_fd_ < 0) return;
  inotify_add_watch(inotify_fd_, folder_.c_str(), kFolderEvents);
  for (const std::string& name : files_in(expected_))
    inotify_add_watch(inotify_fd_, (folder_ / name).c_str(), kFileEvents);
}

void FolderWatch::run() {
  for (look_once(); is_watching(); look_once()) wait();
}

bool FolderWatch::is_watching() {
  const std::lock_guard lock(mutex_);
  return state_ == State::kWatching;
}

// Who asks while it looks is answered after the next look, or because the change was told.
void FolderWatch::look_once() {
  std::vector<std::function<void()>> looked;
  {
    const std::lock_guard lock(mutex_);
    if (state_ != State::kWatching) return;
    looked.swap(looked_);
  }
  const std::string what = difference();
  if (!what.empty()) {
    on_change_(what);
    const std::lock_guard lock(mutex_);
    if (state_ == State::kWatching) state_ = State::kToldChange;
    looked.insert(looked.end(), looked_.begin(), looked_.end());
  }
  for (const auto& tell : looked) tell();
}

void FolderWatch::wait() const {
  std::array<pollfd, 2> fds{{{.fd = wake_fd_, .events = POLLIN}, {.fd = inotify_fd_, .events = POLLIN}}};
  poll(fds.data(), fds.size(), kLookEveryMs);
  std::array<char, 4096> events{};  // which ones does not matter
  (void)!read(wake_fd_, events.data(), events.size());
  while (inotify_fd_ >= 0 && read(inotify_fd_, events.data(), events.size()) > 0) continue;
}

std::string FolderWatch::difference() const {
  const auto times = file_times(folder_, which_);
  if (!times && times.error().is(CheckpointError::kNotFound)) return times.error().message();
  if (!times || *times == expected_times_)
    return "";  // cannot be read just now, for lack of descriptors perhaps
  const auto found = fingerprint(folder_, which_);
  return describe_difference(found ? expected_ : expected_times_, found ? *found : *times);
}

}  // namespace concertina::checkpoint
