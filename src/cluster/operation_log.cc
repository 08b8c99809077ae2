#include "cluster/operation_log.h"

#include <algorithm>

#include "base/check.h"

namespace concertina::cluster {

Operation& OperationLog::start(Operation operation) {
  CHECK(running() == nullptr, "operation {} is running", running_id_);
  const auto [record, is_new] = records_.emplace(operation.id, std::move(operation));
  CHECK(is_new, "operation {} is known already", record->first);
  running_id_ = record->first;
  record->second.phase = Phase::kPlanning;
  phase_began_ = record->second.started;
  return record->second;
}

void OperationLog::set_phase(Phase phase, Time now) {
  CHECK(running() != nullptr, "no operation is running");
  Operation& operation = *running();
  if (operation.phase == phase) return;
  auto& times = operation.phase_times;
  const auto same =
      std::find_if(times.begin(), times.end(), [&](const auto& t) { return t.first == operation.phase; });
  if (same != times.end()) {
    same->second += now - phase_began_;
  } else {
    times.emplace_back(operation.phase, now - phase_began_);
  }
  operation.phase = phase;
  phase_began_ = now;
}

const Operation& OperationLog::end(Phase final_phase, Time now) {
  CHECK(is_final(final_phase), "{} is not the end of an operation", name_of(final_phase));
  set_phase(final_phase, now);
  const Operation& record = *running();
  running_id_.clear();
  ++n_ended_[static_cast<std::size_t>(final_phase)];
  ended_.push_back(record.id);
  // The one that just ended stays, whatever n_kept is: it is about to be answered.
  while (ended_.size() > std::max<std::size_t>(n_kept_, 1)) {
    records_.erase(ended_.front());
    ended_.pop_front();
  }
  return record;
}

void OperationLog::restore(Operation operation) {
  CHECK(is_final(operation.phase), "operation {} has not ended", operation.id);
  const auto [record, is_new] = records_.emplace(operation.id, std::move(operation));
  if (is_new) ended_.push_back(record->first);
}

const Operation* OperationLog::find(const std::string& id) const {
  const auto record = records_.find(id);
  return record == records_.end() ? nullptr : &record->second;
}

}  // namespace concertina::cluster
