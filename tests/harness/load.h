#pragma once

#include <atomic>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "client/generation.h"

namespace concertina::harness {

// Requests that all differ: prompts of 5 to max_prompt random tokens, every second one greedy, the others
// sampled with a seed.
std::vector<client::GenerationRequest> make_requests(std::uint64_t seed, std::size_t n, std::size_t n_tokens,
                                                     std::size_t vocab_size, std::size_t max_prompt);

struct StreamRecord {
  std::size_t request = 0;  // index among the requests
  client::Generation generation;
  std::string error;  // empty: it ended well
};

struct StreamView {  // of a stream as it is now
  std::size_t request = 0, n_tokens = 0, n_finished = 0;
  std::string text;
};

// Streams that run side by side, one thread each. A stream that ends starts again until stop_restarting().
class Load {
 public:
  enum class Restart : std::uint8_t { kNo, kYes };
  Load(std::string url, std::vector<client::GenerationRequest> requests, Restart restart);
  ~Load();

  void stop_restarting();
  std::vector<StreamRecord> join();  // waits for all; every stream that ended, in order of request
  std::uint64_t n_tokens() const { return n_tokens_; }
  std::size_t n_open() const;  // streams that have had a token and are not over
  std::vector<StreamView> views() const;
  void wait_for_tokens(std::uint64_t n) const;  // until that many more have come, over all streams

 private:
  void run(std::size_t index);

  const std::string url_;
  const std::vector<client::GenerationRequest> requests_;
  std::atomic<bool> restart_;
  std::atomic<std::uint64_t> n_tokens_{0};
  mutable std::mutex mutex_;
  std::vector<StreamRecord> records_;  // guarded by mutex_
  std::vector<StreamView> views_;      // guarded by mutex_
  std::vector<std::thread> threads_;
};

// Each request by itself, one after the other: what every disturbed stream must equal.
std::vector<std::vector<TokenId>> run_alone(const std::string& url,
                                            const std::vector<client::GenerationRequest>& requests);

// Longest time between two tokens of a stream of which the second came in [from, to]; seconds.
double worst_gap_s(const std::vector<StreamRecord>& records, Time from, Time to);

struct Comparison {
  std::size_t n_streams = 0, n_failed = 0, n_differing = 0;
  std::uint64_t n_tokens = 0, n_tokens_differing = 0;
  std::string first_problem;
};
Comparison compare(const std::vector<StreamRecord>& records,
                   const std::vector<std::vector<TokenId>>& undisturbed);

}  // namespace concertina::harness
