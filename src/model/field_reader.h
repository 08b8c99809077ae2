#pragma once

#include <cstdint>
#include <initializer_list>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "model/error.h"

namespace concertina::model {

// Reads the fields of one JSON object. The first failure is kept and every read goes on with a harmless
// value, so that the reading of a config stays a flat list; look at status() before using anything. A null
// field counts as absent.
class FieldReader {
 public:
  // `path` begins the name of a field in messages: "" or "rope_parameters.". The object must outlive the
  // reader.
  explicit FieldReader(const nlohmann::json& object, std::string path = "")
      : object_(object), path_(std::move(path)) {}

  bool has(std::string_view key) const { return find(key) != nullptr; }
  const nlohmann::json* find(std::string_view key) const;  // null when absent

  // A whole number, however spelt (8, 8.0, 8e0), in [1, max]; without a fallback the field is required. Of
  // several keys, the first that is there.
  std::size_t count(std::initializer_list<std::string_view> keys, std::size_t max,
                    std::optional<std::size_t> fallback = std::nullopt);
  std::size_t count_or_zero(std::initializer_list<std::string_view> keys,
                            std::size_t max);                                      // required; 0 is allowed
  double number(std::string_view key, double above, double max, double fallback);  // in (above, max]
  double number_from(std::string_view key, double min, double max, double fallback);  // in [min, max]
  std::int64_t integer(std::string_view key, std::int64_t min, std::int64_t max, std::int64_t fallback);
  bool flag(std::string_view key, bool fallback);
  std::string text(std::string_view key, std::string fallback);
  std::vector<std::size_t> counts(std::string_view key, std::size_t max);  // [] when absent
  std::vector<TokenId> tokens(std::string_view key,
                              std::size_t vocab_size);  // one id or a list of them; [] when absent

  const nlohmann::json* object(std::string_view key);  // nullptr when absent

  // Records "FIELD: found X, supported: Y".
  void unsupported(std::string_view key, const std::string& found, const std::string& supported);
  void reject(ModelError code, std::string_view key, const std::string& text);

  // Keeps the error of the reader of an object within, unless there was one already.
  void take_error_of(const FieldReader& nested);

  Status status() const;

 private:
  std::optional<std::uint64_t> whole(std::initializer_list<std::string_view> keys, std::uint64_t min,
                                     std::uint64_t max);
  std::optional<double> real(std::string_view key);

  const nlohmann::json& object_;
  std::string path_;
  std::optional<Error> error_;
};

}  // namespace concertina::model
