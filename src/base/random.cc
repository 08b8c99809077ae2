#include "base/random.h"

#include <cmath>

namespace concertina {

std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> counter,
                                        std::array<std::uint32_t, 2> key) {
  constexpr std::uint64_t kMultiplier0 = 0xD2511F53, kMultiplier1 = 0xCD9E8D57;
  constexpr std::uint32_t kWeyl0 = 0x9E3779B9, kWeyl1 = 0xBB67AE85;
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t product0 = kMultiplier0 * counter[0], product1 = kMultiplier1 * counter[2];
    counter = {static_cast<std::uint32_t>(product1 >> 32) ^ counter[1] ^ key[0],
               static_cast<std::uint32_t>(product1),
               static_cast<std::uint32_t>(product0 >> 32) ^ counter[3] ^ key[1],
               static_cast<std::uint32_t>(product0)};
    key = {key[0] + kWeyl0, key[1] + kWeyl1};
  }
  return counter;
}

namespace {
constexpr std::array<std::uint32_t, 2> split(std::uint64_t value) {
  return {static_cast<std::uint32_t>(value), static_cast<std::uint32_t>(value >> 32)};
}
}  // namespace

float sampling_uniform(std::uint64_t seed, std::uint32_t choice_index, std::uint64_t position) {
  const auto place = split(position);
  return static_cast<float>(philox4x32({place[0], place[1], choice_index, 0}, split(seed))[0] >> 8) *
         0x1p-24f;
}

std::uint64_t Random::next() {
  const auto count = split(counter_++);
  const auto words = philox4x32({count[0], count[1], 0, 1}, split(seed_));
  return static_cast<std::uint64_t>(words[1]) << 32 | words[0];
}

std::uint64_t Random::below(std::uint64_t bound) {
  return static_cast<std::uint64_t>((static_cast<unsigned __int128>(next()) * bound) >> 64);
}

float Random::uniform() { return static_cast<float>(next() >> 40) * 0x1p-24f; }

float Random::normal() {
  const double u = (static_cast<double>(next() >> 11) + 1.0) * 0x1p-53;  // (0, 1]: the logarithm is finite
  const double v = static_cast<double>(next() >> 11) * 0x1p-53;
  return static_cast<float>(std::sqrt(-2.0 * std::log(u)) * std::cos(2.0 * M_PI * v));
}

}  // namespace concertina
