#include "grammar/stack_pool.h"

namespace concertina::grammar {

StackPool::StackPool() : frames_(kAnyStack + 1), by_frame_(64, 0) {}

std::size_t StackPool::place_of(StackIndex below, StateIndex to) const {
  const std::uint64_t mixed = ((std::uint64_t{below} << 32) | to) * 0x9E3779B97F4A7C15;
  std::size_t place = (mixed >> 32) & (by_frame_.size() - 1);
  while (by_frame_[place] != 0) {
    const Frame& frame = frames_[by_frame_[place]];
    if (frame.below == below && frame.to == to) break;
    place = (place + 1) & (by_frame_.size() - 1);
  }
  return place;
}

StackIndex StackPool::push(StackIndex below, StateIndex to) {
  const std::size_t place = place_of(below, to);
  if (by_frame_[place] != 0) return by_frame_[place];
  const auto stack = static_cast<StackIndex>(frames_.size());
  frames_.push_back({below, to});
  by_frame_[place] = stack;
  if (frames_.size() * 2 > by_frame_.size()) index_all(by_frame_.size() * 2);
  return stack;
}

void StackPool::index_all(std::size_t n_places) {
  by_frame_.assign(n_places, 0);
  for (StackIndex stack = kAnyStack + 1; stack < frames_.size(); ++stack)
    by_frame_[place_of(frames_[stack].below, frames_[stack].to)] = stack;
}

void StackPool::keep_only(const std::vector<StackIndex*>& roots) {
  std::vector<StackIndex> moved(frames_.size(), 0);
  for (const auto* root : roots) moved[*root] = 1;
  for (StackIndex stack = static_cast<StackIndex>(frames_.size()); stack-- > kAnyStack + 1;)
    if (moved[stack] != 0) moved[frames_[stack].below] = 1;
  for (StackIndex bottom = 0; bottom <= kAnyStack; ++bottom) moved[bottom] = bottom;
  StackIndex next = kAnyStack + 1;
  for (StackIndex stack = kAnyStack + 1; stack < frames_.size(); ++stack) {
    if (moved[stack] == 0) continue;
    frames_[next] = {moved[frames_[stack].below], frames_[stack].to};
    moved[stack] = next++;
  }
  frames_.resize(next);
  for (auto* root : roots) *root = moved[*root];
  index_all(by_frame_.size());
}

}  // namespace concertina::grammar
