// Random series of times, the same on every machine that has the same standard library.
#pragma once

#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

namespace mlbench::measure::test {

class Noise {
 public:
  explicit Noise(std::uint64_t seed) : random_(seed) {}
  double normal() { return normal_(random_); }
  // A first-order process of standard deviation 1: each value is rho times the one before it, and noise.
  std::vector<double> series(int n, double rho = 0.0) {
    std::vector<double> out;
    for (int i = 0; i < n; ++i)
      out.push_back(i == 0 ? normal() : rho * out.back() + std::sqrt(1.0 - rho * rho) * normal());
    return out;
  }
  // Times about 1 whose logarithms are such a process, with this standard deviation.
  std::vector<double> times(int n, double noise, double rho = 0.0) {
    std::vector<double> out = series(n, rho);
    for (double& x : out) x = std::exp(noise * x);
    return out;
  }

 private:
  std::mt19937_64 random_;
  std::normal_distribution<double> normal_;
};

inline std::vector<double> scaled(std::vector<double> series, double by) {
  for (double& x : series) x *= by;
  return series;
}

}  // namespace mlbench::measure::test
