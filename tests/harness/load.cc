#include "tests/harness/load.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"
#include "base/random.h"
#include "tests/harness/server_process.h"

namespace concertina::harness {

std::vector<client::GenerationRequest> make_requests(std::uint64_t seed, std::size_t n, std::size_t n_tokens,
                                                     std::size_t vocab_size, std::size_t max_prompt) {
  Random random(seed);
  std::vector<client::GenerationRequest> requests(n);
  for (std::size_t i = 0; i < n; ++i) {
    client::GenerationRequest& request = requests[i];
    for (std::size_t j = 5 + random.below(max_prompt - 4); j > 0; --j) {
      request.prompt_ids.push_back(static_cast<TokenId>(random.below(vocab_size)));
    }
    request.max_tokens = n_tokens;
    request.ignore_eos = true;
    request.temperature = i % 2 == 0 ? 0.0 : 0.9;
    request.seed = random.next() >> 1;
  }
  return requests;
}

Load::Load(std::string url, std::vector<client::GenerationRequest> requests, Restart restart)
    : url_(std::move(url)),
      requests_(std::move(requests)),
      restart_(restart == Restart::kYes),
      views_(requests_.size()) {
  for (std::size_t i = 0; i < requests_.size(); ++i) {
    views_[i].request = i;
    threads_.emplace_back([this, i] { run(i); });
  }
}

Load::~Load() {
  stop_restarting();
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
}

void Load::run(std::size_t index) {
  do {
    const auto on_chunk = [&](const client::GenerationChunk& chunk) {
      n_tokens_ += chunk.token_ids.size();
      std::lock_guard lock(mutex_);
      views_[index].n_tokens += chunk.token_ids.size();
      views_[index].text += chunk.text;
      return client::StreamControl::kContinue;
    };
    auto generated = client::generate(url_, requests_[index], on_chunk);
    // Told to come back, nothing was begun: a client comes back.
    const bool is_busy = !generated && generated.error().is(client::ClientError::kStatus) &&
                         generated.error().message().find(": 503:") != std::string::npos;
    if (is_busy && restart_) {
      pause_between_polls();
      continue;
    }
    std::lock_guard lock(mutex_);
    StreamRecord record{.request = index};
    if (generated) {
      record.generation = std::move(*generated);
    } else {
      record.error = generated.error().message();
    }
    records_.push_back(std::move(record));
    views_[index].n_tokens = 0;
    views_[index].text.clear();
    ++views_[index].n_finished;
    if (!generated) return;
  } while (restart_);
}

void Load::stop_restarting() { restart_ = false; }

std::vector<StreamRecord> Load::join() {
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
  std::lock_guard lock(mutex_);
  std::stable_sort(records_.begin(), records_.end(),
                   [](const auto& a, const auto& b) { return a.request < b.request; });
  return records_;
}

std::size_t Load::n_open() const {
  std::lock_guard lock(mutex_);
  return static_cast<std::size_t>(
      std::count_if(views_.begin(), views_.end(), [](const StreamView& view) { return view.n_tokens > 0; }));
}

std::vector<StreamView> Load::views() const {
  std::lock_guard lock(mutex_);
  return views_;
}

void Load::wait_for_tokens(std::uint64_t n) const {
  const std::uint64_t target = n_tokens_ + n;
  CHECK(eventually([&] { return n_tokens_ >= target; }), "{} more tokens did not come within 60 s", n);
}

std::vector<std::vector<TokenId>> run_alone(const std::string& url,
                                            const std::vector<client::GenerationRequest>& requests) {
  std::vector<std::vector<TokenId>> ids;
  for (const client::GenerationRequest& request : requests) {
    const auto generated = client::generate(url, request);
    CHECK(generated.has_value(), "an undisturbed request failed: {}", generated.error().message());
    ids.push_back(generated->token_ids);
  }
  return ids;
}

double worst_gap_s(const std::vector<StreamRecord>& records, Time from, Time to) {
  double worst = 0;
  for (const StreamRecord& record : records) {
    const auto& times = record.generation.token_times;
    for (std::size_t i = 1; i < times.size(); ++i) {
      if (times[i] >= from && times[i] <= to)
        worst = std::max(worst, std::chrono::duration<double>(times[i] - times[i - 1]).count());
    }
  }
  return worst;
}

Comparison compare(const std::vector<StreamRecord>& records,
                   const std::vector<std::vector<TokenId>>& undisturbed) {
  Comparison out;
  for (const StreamRecord& record : records) {
    ++out.n_streams;
    const auto& expected = undisturbed.at(record.request);
    const auto& found = record.generation.token_ids;
    out.n_tokens += found.size();
    std::string problem;
    if (!record.error.empty()) {
      ++out.n_failed;
      problem = record.error;
    } else if (found != expected) {
      ++out.n_differing;
      const auto [a, b] = std::mismatch(found.begin(), found.end(), expected.begin(), expected.end());
      for (std::size_t i = 0; i < std::max(found.size(), expected.size()); ++i) {
        out.n_tokens_differing +=
            i >= found.size() || i >= expected.size() || found[i] != expected[i] ? 1 : 0;
      }
      problem = fmt::format("differs from token {} on ({} tokens, {} expected)", a - found.begin(),
                            found.size(), expected.size());
    }
    if (!problem.empty() && out.first_problem.empty())
      out.first_problem = fmt::format("request {}: {}", record.request, problem);
  }
  return out;
}

}  // namespace concertina::harness
