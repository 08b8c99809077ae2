#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "bench/gpu/floors.h"
#include "device/cuda/device.h"

namespace concertina::bench::gpu {

// The table, printed row by row, and a file of it that is whole after each row: a machine may be taken away.
class Report {
 public:
  Report(std::string path, const std::string& commit, const std::string& card, const CardRates& rates);

  // `us`: of one step, or of one call of a kernel. `more` goes into the file beside it.
  void add(const std::string& load, const std::string& what, double us, const Work& work,
           const nlohmann::ordered_json& more = {});
  const CardRates& rates() const { return rates_; }

 private:
  const std::string path_;
  const CardRates rates_;
  nlohmann::ordered_json json_;
};

CardRates measure_copy(const device::cuda::Device& device, device::cuda::Queue& queue);

}  // namespace concertina::bench::gpu
