// Products with the weights of models: what of their time is reading weights, and what is multiplying.
#include <array>
#include <cmath>
#include <cstring>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include <fmt/format.h>

#include "backends/cpu/product.h"
#include "bench/cpu_operators.h"
#include "harness/memory.h"
#include "models/tensor_inventory.h"

namespace mlbench::cpu::bench {
namespace {

// By what a shape is called that several weights of a model have: v's is k's, the gate's is up's.
constexpr std::array kNames = {std::pair{TensorRole::qkv_proj, "attn.qkv"}, std::pair{TensorRole::q_proj, "attn.q"},
                               std::pair{TensorRole::k_proj, "attn.k"},     std::pair{TensorRole::attn_out, "attn.out"},
                               std::pair{TensorRole::mlp_up, "mlp.up"},     std::pair{TensorRole::mlp_down, "mlp.down"},
                               std::pair{TensorRole::lm_head, "lm_head"}};

struct WeightShape {
  Index out = 0;
  Index in = 0;
  bool bias = false;
};

using WeightShapes = std::map<TensorRole, WeightShape>;

WeightShapes weights_of(const ModelConfig& config) {
  std::vector<TensorSpec> specs = layer_tensors(config, 0);
  for (const TensorSpec& spec : global_tensors(config)) specs.push_back(spec);
  WeightShapes shapes;
  shapes[TensorRole::lm_head] = {config.vocab_size, config.hidden_size};  // tied, none of the inventory's
  for (const TensorSpec& spec : specs) {
    if (spec.bias) {
      shapes[spec.role].bias = true;
    } else if (spec.shape.size() == 2) {
      shapes[spec.role] = {spec.shape[0], spec.shape[1]};
    }
  }
  return shapes;
}

// One weight of random values, as often as it takes for them not to stay in the caches.
struct Copies {
  Copies(DType stored, const WeightShape& shape, int threads) : dtype(stored) {
    const std::size_t bytes = stored_bytes(stored, shape.out * shape.in);
    const Index copies = copies_beyond_caches(static_cast<double>(bytes));
    // Those, and the original.
    harness::require_memory(bytes * (static_cast<std::size_t>(copies) + 1), "weights");
    original = random_stored(stored, 1, shape.out * shape.in);
    const Matrix prepared = Products(stored, threads).prepare({stored, shape.out, shape.in, original.data()});
    const std::vector<float> bias = random_floats(2, shape.bias ? shape.out : 0);
    for (Index i = 0; i < copies; ++i) layers.push_back({copy_of(prepared, bytes), bias});
  }

  [[nodiscard]] static Matrix copy_of(const Matrix& from, std::size_t bytes) {
    Buffer copy(bytes);
    std::memcpy(copy.data(), from.data, bytes);
    const std::byte* data = copy.data();
    return {.out = from.out, .in = from.in, .data = data, .owned = std::move(copy)};
  }

  DType dtype;
  Buffer original;  // [out, in]
  std::vector<Linear> layers;
};

// y = x W^T + b, each time with the next copy. x is rounded beforehand, as it is for all products that read it.
class Product final : public Operator {
 public:
  Product(std::shared_ptr<const Copies> weights, Index rows, int threads)
      : weights_(std::move(weights)),
        products_(weights_->dtype, threads),
        rows_(rows),
        in_(first().weight.in),
        out_(first().weight.out),
        x_(random_floats(3, rows * in_)),
        y_(static_cast<std::size_t>(rows * out_)),
        input_(products_.input(x_.data(), rows, in_)) {}

  // Activations are float32, or bf16 where the processor multiplies that.
  [[nodiscard]] Work work() const override {
    const auto stored = static_cast<double>(size_bytes(weights_->dtype));
    const auto m = static_cast<double>(rows_), n = static_cast<double>(out_), k = static_cast<double>(in_);
    const auto bias = static_cast<double>(first().bias.size());
    const auto x_bytes = static_cast<double>(size_bytes(multiplied()));
    return {.bytes = n * k * stored + m * k * x_bytes + (m * n + bias) * sizeof(float),
            .flops = 2 * m * n * k + m * bias};
  }

  void run() override {
    products_.multiply(input_, weights_->layers[next_], y_.data());
    next_ = (next_ + 1) % weights_->layers.size();
  }

  void compare(Comparison& comparison) const override {
    for (const Index row : {Index{0}, rows_ / 2, rows_ - 1}) {
      for (const Index column : {Index{0}, out_ / 3, out_ - 1}) compare(row, column, comparison);
    }
  }

  [[nodiscard]] std::string label() const override {
    if (!Products::native(weights_->dtype)) return "widened to f32";
    const std::vector<std::string> used = products_.implementations();
    return used.empty() ? "" : used.front();
  }

 private:
  [[nodiscard]] const Linear& first() const { return weights_->layers.front(); }
  [[nodiscard]] DType multiplied() const { return Products::native(weights_->dtype) ? weights_->dtype : DType::f32; }

  // A sum of k products and a bias in float32, in any order: each term goes through at most k + 1 roundings, and one of
  // its own (Higham, "Accuracy and Stability of Numerical Algorithms", section 3.1).
  void compare(Index row, Index column, Comparison& comparison) const {
    double sum = first().bias.empty() ? 0.0 : double{first().bias[static_cast<std::size_t>(column)]};
    double magnitude = std::fabs(sum);
    for (Index i = 0; i < in_; ++i) {
      const double x = rounded_to(double{x_[static_cast<std::size_t>(row * in_ + i)]}, multiplied());
      const double term = x * stored_at(weights_->dtype, weights_->original.data(), column * in_ + i);
      sum += term;
      magnitude += std::fabs(term);
    }
    comparison.see(fmt::format("row {}, column {}", row, column),
                   double{y_[static_cast<std::size_t>(row * out_ + column)]}, sum,
                   static_cast<double>(in_ + 3) * kU * magnitude);
  }

  std::shared_ptr<const Copies> weights_;
  Products products_;
  Index rows_, in_, out_;
  std::vector<float> x_, y_;
  ProductInput input_;
  std::size_t next_ = 0;
};

void add_weight(Suite& suite, const std::string& name, const WeightShape& shape) {
  for (const DType dtype : kStored) {
    for (const int threads : suite.threads()) {  // they may decide how the weight is packed
      const std::string weight = fmt::format("product/{}/{}", name, mlbench::name(dtype));
      for (const Index rows : kRows) {
        suite.add(fmt::format("{}/rows:{}", weight, rows), threads, [=, &suite] {
          const auto copies = suite.shared<Copies>(fmt::format("{}/{}", weight, threads),
                                                   [&] { return std::make_unique<Copies>(dtype, shape, threads); });
          return std::make_unique<Product>(copies, rows, threads);
        });
      }
    }
  }
}

}  // namespace

// Of shapes that a model has twice, as q's and attn.out's often are, the first one's name stands for both.
void add_products(Suite& suite) {
  for (const NamedModel& model : suite.models()) {
    const WeightShapes shapes = weights_of(model.config);
    std::set<std::tuple<Index, Index, bool>> seen;
    for (const auto& [role, name] : kNames) {
      const auto found = shapes.find(role);
      if (found == shapes.end()) continue;
      const WeightShape& shape = found->second;
      if (seen.emplace(shape.out, shape.in, shape.bias).second) {
        add_weight(suite, fmt::format("{}/{}", model.name, name), shape);
      }
    }
  }
}

}  // namespace mlbench::cpu::bench
