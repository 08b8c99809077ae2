#include "sim/world.h"

#include <fmt/format.h>

#include "sim/rank.h"

namespace concertina::sim {

namespace {
constexpr std::size_t kTraceKept = 60;
}

void World::note(std::string what) {
  for (const char c : what) trace_hash = mix(trace_hash, static_cast<unsigned char>(c));
  trace.push_back(fmt::format("{:10.3f} ms  {}", to_ms(schedule.now().time_since_epoch()) - 1000, what));
  if (trace.size() > kTraceKept) trace.pop_front();
}

Rank* World::find(const cluster::Member& member) {
  const auto found = ranks.find(member);
  return found == ranks.end() ? nullptr : found->second.get();
}

}  // namespace concertina::sim
