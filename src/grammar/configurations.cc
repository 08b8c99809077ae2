#include "grammar/configurations.h"

#include <algorithm>

namespace concertina::grammar {

std::size_t Configurations::Hash::operator()(const std::vector<Item>& items) const {
  std::uint64_t hash = items.size();
  for (const auto& [state, stack] : items)
    hash = (hash ^ ((std::uint64_t{state} << 32) | stack)) * 0x9E3779B97F4A7C15 + (hash >> 29);
  return hash;
}

void Configurations::clear() {
  work_before_ += reader_.work();
  reader_ = Reader(reader_.automaton());
  readings_.clear();
  rows_.clear();
  text_runs_.clear();
  for (auto& by_items : by_items_) by_items.clear();
  of({});
}

Configurations::Index Configurations::of(const Reading& reading) {
  Reading sorted = reading;
  std::sort(sorted.items.begin(), sorted.items.end());
  const auto [known, is_new] =
      by_items_[sorted.ends ? 1 : 0].try_emplace(sorted.items, static_cast<Index>(readings_.size()));
  if (is_new) {
    readings_.push_back(std::move(sorted));
    rows_.emplace_back();
    text_runs_.push_back(-1);
  }
  return known->second;
}

Configurations::Index Configurations::from_edges_of(StateIndex state) {
  return of({.items = {{state, kUnknownStack}}});
}

Configurations::Index Configurations::from_callers_of(StateIndex state) {
  std::vector<Item> items;
  for (const StateIndex to : reader_.automaton().returns(state)) items.push_back({to, kAnyStack});
  Reading reading;
  reader_.start(items, reading);
  return of(reading);
}

const Configurations::Row& Configurations::row(Index index) {
  if (!rows_[index]) fill_row(index);
  return *rows_[index];
}

// A circle other than a loop counts as an end.
int Configurations::text_run(Index index) {
  if (text_runs_[index] >= 0) return text_runs_[index];
  text_runs_[index] = 0;
  const int run = ends(index) ? 0 : least_run(index, TextState::kBetween, index);
  text_runs_[index] = static_cast<std::int16_t>(run);
  return run;
}

// Of a character that has begun at `begin`: over all that may be its next byte, the least run.
int Configurations::least_run(Index from, TextState state, Index begin) {
  int run = kForEver;
  Index before = kDead;
  TextState before_state = state;
  for (std::size_t byte = 0; byte < 256 && run > 0; ++byte) {
    const TextStep step = text_step(state, static_cast<std::uint8_t>(byte));
    if (!step.is_text) continue;
    const Index to = row(from)[byte];
    if (to == kDead) return 0;
    if (to == before && step.to == before_state) continue;
    before = to;
    before_state = step.to;
    if (step.to != TextState::kBetween)
      run = std::min(run, ends(to) ? 0 : least_run(to, step.to, begin));
    else if (to != begin)
      run = std::min(run, text_run(to) + 1);
  }
  return run;
}

// Bytes between two cuts are read alike.
void Configurations::fill_row(Index index) {
  auto row = std::make_unique<Row>();
  row->fill(kDead);
  std::array<bool, 257> cut{}, covered{};
  for (const auto& item : readings_[index].items)
    for (const auto& edge : reader_.automaton().edges(item.state)) {
      cut[edge.first] = cut[edge.last + 1] = true;
      for (std::size_t byte = edge.first; byte <= edge.last; ++byte) covered[byte] = true;
    }
  Reading next;
  for (std::size_t begin = 0, end; begin < 256; begin = end) {
    for (end = begin + 1; end < 256 && !cut[end];) ++end;
    if (!covered[begin]) continue;
    reader_.step(readings_[index], static_cast<std::uint8_t>(begin), next);
    const Index to = of(next);
    std::fill(row->begin() + static_cast<std::ptrdiff_t>(begin),
              row->begin() + static_cast<std::ptrdiff_t>(end), to);
  }
  rows_[index] = std::move(row);
}

}  // namespace concertina::grammar
