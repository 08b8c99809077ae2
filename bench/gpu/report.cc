#include "bench/gpu/report.h"

#include <fmt/format.h>

#include <fstream>

#include "base/check.h"
#include "kernel_digest.h"

namespace concertina::bench::gpu {

Report::Report(std::string path, const std::string& commit, const std::string& card, const CardRates& rates)
    : path_(std::move(path)), rates_(rates) {
  json_ = {{"commit", commit},
           {"card", card},
           {"kernel_digest", CONCERTINA_KERNEL_DIGEST},
           {"copy_gb_s", rates.copy_gb_s},
           {"matrix_tflop_s", rates.matrix_tflop_s},
           {"rows", nlohmann::ordered_json::array()}};
  fmt::print("{}, commit {}, kernels {:.12}: copies {:.0f} GB/s, products {:.0f} TFLOP/s\n", card, commit,
             CONCERTINA_KERNEL_DIGEST, rates.copy_gb_s, rates.matrix_tflop_s);
}

void Report::add(const std::string& load, const std::string& what, double us, const Work& work,
                 const nlohmann::ordered_json& more) {
  const double floor_us = work.floor_us(rates_);
  nlohmann::ordered_json row = {{"load", load},
                                {"what", what},
                                {"us", us},
                                {"bytes", work.bytes},
                                {"flop", work.flop},
                                {"floor_us", floor_us},
                                {"times_floor", floor_us > 0 ? us / floor_us : 0}};
  if (!more.is_null()) row.update(more);
  json_["rows"].push_back(row);
  fmt::print("{:<18} {:<28} {:>10.1f} us", load, what, us);
  if (floor_us > 0) fmt::print("  floor {:>9.1f}  x {:.2f}", floor_us, us / floor_us);
  fmt::print("\n");
  std::fflush(stdout);
  std::ofstream(path_) << json_.dump(1) << "\n";
}

CardRates measure_copy(const device::cuda::Device& device, device::cuda::Queue& queue) {
  constexpr std::size_t kBytes = std::size_t{2} << 30;
  auto from = device::cuda::Arena::create(device, kBytes, "a copy"),
       to = device::cuda::Arena::create(device, kBytes, "a copy");
  CHECK(from && to, "no memory for a copy");
  std::byte* const source = from->take(kBytes, "a copy").value();
  std::byte* const target = to->take(kBytes, "a copy").value();
  CHECK(queue.fill(source, 0x5a, kBytes).has_value());
  auto begin = device::cuda::Event::create().value(), end = device::cuda::Event::create().value();
  double best = 0;
  for (int i = 0; i < 5; ++i) {
    CHECK(begin.record(queue).has_value() && queue.copy(target, source, kBytes).has_value() &&
          end.record(queue).has_value());
    best = std::max(best, 2.0 * static_cast<double>(kBytes) / (end.ms_since(begin).value() * 1e6));
  }
  return {.copy_gb_s = best};
}

}  // namespace concertina::bench::gpu
