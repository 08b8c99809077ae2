#pragma once

#include <array>
#include <cstdint>

namespace concertina {

// Counter-based generator Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC11).
// The same (key, counter) always gives the same four words: there is no state to move between ranks.
std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> counter,
                                        std::array<std::uint32_t, 2> key);

// Uniform in [0, 1), 24 bits, for one sampling decision.
float sampling_uniform(std::uint64_t seed, std::uint32_t choice_index, std::uint64_t position);

// A small seeded sequence for tests, dummy weights and simulations. Not for sampling: it has state.
class Random {
 public:
  explicit Random(std::uint64_t seed) : seed_(seed) {}
  std::uint64_t next();
  std::uint64_t below(std::uint64_t bound);  // [0, bound), bound > 0
  float uniform();                           // [0, 1)
  float normal();                            // mean 0, deviation 1

 private:
  std::uint64_t seed_;
  std::uint64_t counter_ = 0;
};

}  // namespace concertina
