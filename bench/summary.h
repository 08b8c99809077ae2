#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace concertina::bench {

inline void write_json(const std::string& path, const nlohmann::ordered_json& json) {
  std::ofstream(path) << json.dump(2) << "\n";
  fmt::print("written to {}\n", path);
}

// The values of several runs: median and spread.
struct Summary {
  std::vector<double> values;

  double median() const {
    std::vector<double> sorted = values;
    std::sort(sorted.begin(), sorted.end());
    const std::size_t n = sorted.size();
    return n == 0 ? NAN : (sorted[(n - 1) / 2] + sorted[n / 2]) / 2;
  }
  double lowest() const { return values.empty() ? NAN : *std::min_element(values.begin(), values.end()); }
  double highest() const { return values.empty() ? NAN : *std::max_element(values.begin(), values.end()); }

  nlohmann::ordered_json json() const {
    return {{"median", median()}, {"lowest", lowest()}, {"highest", highest()}, {"values", values}};
  }
  void line(const std::string& name, const std::string& note) const {
    fmt::print("{:<42} median {:8.1f}   {:8.1f} .. {:8.1f}   {}\n", name, median(), lowest(), highest(),
               note);
  }
  // Prints one line; `met` is given back, and shown where there is a target.
  bool line(const std::string& name, const std::string& target, bool met) const {
    fmt::print("{:<42} median {:8.1f}   {:8.1f} .. {:8.1f}   {}{}\n", name, median(), lowest(), highest(),
               target,
               target.empty() ? ""
               : met          ? ": met"
                              : ": NOT MET");
    return met;
  }
};

}  // namespace concertina::bench
