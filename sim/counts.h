#pragma once

#include <cstdint>

namespace concertina::sim {

// What happened in a run, or in many.
struct Counts {
  std::uint64_t n_events = 0, n_steps = 0, n_void_steps = 0, n_tokens = 0, n_requests = 0;
  std::uint64_t n_operations = 0, n_killed = 0, n_stopped = 0, n_fenced = 0;

  Counts& operator+=(const Counts& other) {
    constexpr std::uint64_t Counts::*kAll[] = {&Counts::n_events, &Counts::n_steps,    &Counts::n_void_steps,
                                               &Counts::n_tokens, &Counts::n_requests, &Counts::n_operations,
                                               &Counts::n_killed, &Counts::n_stopped,  &Counts::n_fenced};
    for (const auto count : kAll) this->*count += other.*count;
    return *this;
  }
};

}  // namespace concertina::sim
