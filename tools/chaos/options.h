#pragma once

#include <cstdint>
#include <random>
#include <string>

namespace concertina::chaos {

struct Options {
  std::string binary, model;  // the run makes copies of its own
  double minutes = 1;
  std::uint64_t seed = std::random_device()();
  std::size_t n_streams = 12, n_tokens = 300, max_size = 5;
  std::uint32_t peer_timeout_ms = 500;
};

}  // namespace concertina::chaos
