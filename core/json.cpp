#include "core/json.h"

#include <utility>
#include <vector>

#include <fmt/format.h>

#include "core/error.h"

namespace mlbench {
namespace {

constexpr std::size_t kMaxDepth = 64;
constexpr std::size_t kMaxValues = 8'000'000;  // a million tensors in a checkpoint's header
constexpr std::size_t kShown = 80;
constexpr std::size_t kReason = 200;

// nlohmann's messages carry a bracketed identifier in front and may quote what they last read, whatever its bytes and
// however long.
std::string parser_reason(const nlohmann::json::exception& error) {
  std::string text = error.what();
  if (const auto end = text.find("] "); end != std::string::npos) text.erase(0, end + 2);
  if (text.size() > kReason) text = text.substr(0, kReason) + "...";
  for (char& c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte >= 0x7F) c = byte < 0x20 ? ' ' : '?';
  }
  return text;
}

// Builds the document as the parser reads it. Its own builder with a callback takes time that grows with the square of
// an array's length; this one's grows with the text alone.
class DocumentBuilder final : public nlohmann::json_sax<nlohmann::json> {
 public:
  DocumentBuilder(std::string_view text, const std::string& where, const std::string& code,
                  const std::string& number_code)
      : text_(text), where_(where), code_(code), number_code_(number_code) {}

  [[nodiscard]] nlohmann::json take() { return std::move(root_); }

  bool null() override { return add(nullptr); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(number_integer_t value) override { return add(value); }
  bool number_unsigned(number_unsigned_t value) override { return add(value); }
  bool number_float(number_float_t value, const string_t&) override { return add(value); }
  bool string(string_t& value) override { return add(std::move(value)); }
  bool binary(binary_t&) override { return false; }  // not in a text
  bool start_object(std::size_t) override { return open(nlohmann::json::object()); }
  bool start_array(std::size_t) override { return open(nlohmann::json::array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }

  bool key(string_t& name) override {
    if (open_.back()->contains(name)) throw fail(fmt::format("name {} is given twice", in_quotes(name)));
    key_ = std::move(name);
    return true;
  }

  bool parse_error(std::size_t position, const std::string& last, const nlohmann::json::exception& error) override {
    const bool too_large = dynamic_cast<const nlohmann::json::out_of_range*>(&error) != nullptr;
    const std::string_view word = word_for_no_number(position);
    if (too_large || !word.empty()) {
      throw request_error(number_code_, fmt::format("{}: {} = {}: must be a finite number", where_, in_quotes(key_),
                                                    too_large ? in_quotes(last, kShown) : word));
    }
    throw fail(fmt::format("not valid JSON: {}", parser_reason(error)));
  }

 private:
  [[nodiscard]] Error fail(const std::string& what) const {
    return request_error(code_, fmt::format("{}: {}", where_, what));
  }

  // Python writes NaN, Infinity and -Infinity; the parser stops at their first letter, byte `position` counted from 1.
  [[nodiscard]] std::string_view word_for_no_number(std::size_t position) const {
    const std::string_view rest = text_.substr(position > 0 ? position - 1 : 0);
    for (const std::string_view word : {"NaN", "Infinity"}) {
      if (rest.starts_with(word)) return word;
    }
    return {};
  }

  nlohmann::json& place(nlohmann::json value) {
    if (++values_ > kMaxValues) throw fail(fmt::format("holds more than {} values", kMaxValues));
    if (open_.empty()) return root_ = std::move(value);
    nlohmann::json& parent = *open_.back();
    if (parent.is_object()) return parent[key_] = std::move(value);
    parent.push_back(std::move(value));
    return parent.back();
  }

  bool add(nlohmann::json value) {
    place(std::move(value));
    return true;
  }

  bool open(nlohmann::json container) {
    if (open_.size() >= kMaxDepth) throw fail(fmt::format("nested deeper than {}", kMaxDepth));
    open_.push_back(&place(std::move(container)));  // stays where it is until it is closed: nothing is added beside it
    return true;
  }

  bool close() {
    open_.pop_back();
    return true;
  }

  std::string_view text_;
  const std::string& where_;
  const std::string& code_;
  const std::string& number_code_;
  nlohmann::json root_;
  std::vector<nlohmann::json*> open_;
  std::string key_;
  std::size_t values_ = 0;
};

}  // namespace

nlohmann::json parse_json(std::string_view text, const std::string& where, const std::string& code,
                          const std::string& number_code) {
  // The parser takes a zero byte for the end of the text and would not look at what follows.
  if (text.find('\0') != std::string_view::npos) {
    throw request_error(code, fmt::format("{}: not valid JSON: it holds a zero byte", where));
  }
  DocumentBuilder builder(text, where, code, number_code);
  nlohmann::json::sax_parse(text.begin(), text.end(), &builder);
  return builder.take();
}

std::string shown(const nlohmann::json& value) {
  std::string text = value.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  if (text.size() > kShown) text = text.substr(0, kShown) + "...";
  return text;
}

}  // namespace mlbench
