#pragma once

#include <filesystem>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "checkpoint/fingerprint.h"

namespace concertina::checkpoint {

// Tells when a model folder's files are no longer those of a fingerprint, on a thread of its own. The kernel
// tells of changes to the folder and to the files that its links lead to (inotify); besides, and where it
// cannot, their times are looked at every second: a link that leads elsewhere, a network's file system.
class FolderWatch {
 public:
  // `expected`: a fingerprint of `which` files. `on_change`: once at most, on the watch's thread, with what
  // differs in a person's words.
  FolderWatch(std::filesystem::path folder, std::string expected,
              std::function<void(const std::string& what)> on_change, Files which = Files::kWeights);
  ~FolderWatch();  // waits for a call under way; what was to be called after a look may not be
  FolderWatch(const FolderWatch&) = delete;
  FolderWatch& operator=(const FolderWatch&) = delete;

  // Looks now; `looked` follows, after on_change if there is one to tell: on the watch's thread, or at once
  // if the change was told before.
  void look(std::function<void()> looked);

 private:
  enum class State : std::uint8_t { kWatching, kToldChange, kStopping };
  void run();
  void look_once();
  bool is_watching();
  void wake() const;
  void watch_files() const;
  void wait() const;
  std::string difference() const;  // empty: none that can be seen

  const std::filesystem::path folder_;
  const Files which_;
  const std::string expected_, expected_times_;
  const std::function<void(const std::string&)> on_change_;
  int inotify_fd_ = -1, wake_fd_ = -1;  // inotify: -1 where there is none
  std::mutex mutex_;
  State state_ = State::kWatching;             // guarded by mutex_
  std::vector<std::function<void()>> looked_;  // to be called after the next look; guarded by mutex_
  std::thread thread_;
};

}  // namespace concertina::checkpoint
