#pragma once

#include <cmath>
#include <cstdint>
#include <span>

namespace concertina::kernels::cpu {

// NaN never comes before a number.
inline bool is_before(float a, float b) { return a > b || (std::isnan(b) && !std::isnan(a)); }

// The chosen.size() highest of `values`, highest first. One pass that keeps the best so far in order: ties
// fall to the lower place by themselves, and NaNs, should there be nothing else, still name different ones.
// make(place) is what stands for a value, place_of(one) tells its place.
template <typename Chosen, typename Make, typename PlaceOf>
void choose_highest(std::span<const float> values, std::span<Chosen> chosen, const Make& make,
                    const PlaceOf& place_of) {
  const auto value = [&](std::size_t rank) { return values[place_of(chosen[rank])]; };
  std::size_t n = 0;
  for (std::uint32_t place = 0; place < values.size(); ++place) {
    if (n == chosen.size() && (n == 0 || !is_before(values[place], value(n - 1)))) continue;
    std::size_t rank = n < chosen.size() ? n++ : n - 1;
    for (; rank > 0 && is_before(values[place], value(rank - 1)); --rank) chosen[rank] = chosen[rank - 1];
    chosen[rank] = make(place);
  }
}

}  // namespace concertina::kernels::cpu
