#include "server/fair_jobs.h"

#include <algorithm>

namespace concertina::server {

bool FairJobs::push(const std::string& client, Job job) {
  if (n_jobs_ + 1 > bounds_.max_jobs || n_bytes_ + job.n_bytes > bounds_.max_bytes) return false;
  Lane& lane = lanes_[client];
  if (lane.jobs.empty()) turns_.push_back(client);
  n_jobs_ += 1;
  n_bytes_ += job.n_bytes;
  lane.jobs.push_back(std::move(job));
  return true;
}

std::optional<FairJobs::Job> FairJobs::pop(std::size_t max_bytes) {
  std::size_t n_too_large = 0;  // clients in a row whose next job is not for this caller
  while (n_too_large < turns_.size()) {
    const std::string client = turns_.front();
    Lane& lane = lanes_.at(client);
    const std::size_t n_bytes = lane.jobs.front().n_bytes;
    if (n_bytes <= max_bytes && n_bytes <= lane.credit) return take(client, lane);
    if (n_bytes <= max_bytes) {
      lane.credit += kBytesPerTurn;
      n_too_large = 0;
    } else {
      ++n_too_large;
    }
    turns_.splice(turns_.end(), turns_, turns_.begin());
  }
  return std::nullopt;
}

FairJobs::Job FairJobs::take(const std::string& client, Lane& lane) {
  Job job = std::move(lane.jobs.front());
  lane.jobs.pop_front();
  lane.credit -= job.n_bytes;
  n_jobs_ -= 1;
  n_bytes_ -= job.n_bytes;
  if (lane.jobs.empty()) {  // what is left of its turn is not saved up
    lanes_.erase(client);
    turns_.pop_front();
  }
  return job;
}

void FairJobs::erase(const std::string& client, Id id) {
  const auto found = lanes_.find(client);
  if (found == lanes_.end()) return;
  std::deque<Job>& jobs = found->second.jobs;
  const auto job = std::find_if(jobs.begin(), jobs.end(), [id](const Job& one) { return one.id == id; });
  if (job == jobs.end()) return;
  n_jobs_ -= 1;
  n_bytes_ -= job->n_bytes;
  jobs.erase(job);
  if (!jobs.empty()) return;
  turns_.remove(client);
  lanes_.erase(found);
}

}  // namespace concertina::server
