#pragma once

#include <atomic>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/random.h"
#include "base/time.h"

namespace concertina::chaos {

// Clients that behave badly beside the compared streams.
class ClientTrouble {
 public:
  explicit ClientTrouble(std::string url) : url_(std::move(url)) {}
  ~ClientTrouble() { cut_all(); }

  void disconnect();  // in the middle of a stream

  // Several requests of up to 128 choices of a long prompt with 1,024 stop ids, side by side: as many bytes
  // for a rank's channel as requests can make. They are cut when their time is over.
  void fill_channel(Random random);
  void cut_all();

  std::string summary() const;
  // What they were told that nobody should be: anything but an answer or a full queue. Empty: nothing.
  std::string problem() const;
  std::size_t n_given_up() const { return n_given_up_; }

 private:
  void start(std::string body, Time until);
  void send(const std::string& body, Time until);
  void note_problem(const std::string& text);

  const std::string url_;
  std::vector<std::thread> threads_;
  std::atomic<bool> is_over_{false};
  std::atomic<std::size_t> n_disconnected_{0}, n_sent_{0}, n_answered_{0}, n_cut_{0}, n_refused_{0};
  std::atomic<std::size_t> n_given_up_{0};
  mutable std::mutex mutex_;
  std::string problem_;  // guarded by mutex_; the first
};

}  // namespace concertina::chaos
