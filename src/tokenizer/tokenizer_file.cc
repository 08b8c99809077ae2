// Reads tokenizer.json and tokenizer_config.json. Whatever is not supported is refused by name: a tokenizer
// that is almost right gives a model prompts it never saw.
#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <map>

#include "tokenizer/error.h"
#include "tokenizer/tokenizer_state.h"
#include "tokenizer/utf8.h"

namespace concertina::tokenizer {

using simdjson::dom::element;

namespace {

// GPT-2's own split expression, which ByteLevel applies with use_regex.
constexpr const char* kByteLevelPattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr std::int64_t kMaxTokenId = 1 << 24;

// GPT-2 writes each byte as a printable character: those that are printable in Latin-1 stand for themselves,
// the others follow from U+0100 on, in order.
const std::map<char32_t, char>& byte_of_character() {
  static const std::map<char32_t, char> table = [] {
    std::map<char32_t, char> made;
    char32_t next = 0x100;
    for (int byte = 0; byte < 256; ++byte) {
      const bool printable = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
      made[printable ? static_cast<char32_t>(byte) : next++] = static_cast<char>(byte);
    }
    return made;
  }();
  return table;
}

// None if some character does not stand for a byte.
std::optional<std::string> to_raw_bytes(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const CodePoint c = first_code_point(text);
    const auto found = byte_of_character().find(c.value);
    if (found == byte_of_character().end()) return std::nullopt;
    out.push_back(found->second);
    text.remove_prefix(c.n_bytes);
  }
  return out;
}

std::string describe(element value) {
  std::string text = simdjson::minify(value);
  if (text.size() > 200) text = text.substr(0, 200) + "...";
  return text;
}

bool is_null(element parent, const char* key) {
  element value;
  return parent[key].get(value) != simdjson::SUCCESS || value.is_null();
}

std::string text_of(element parent, const char* key) {
  std::string_view value;
  return parent[key].get(value) == simdjson::SUCCESS ? std::string(value) : std::string();
}

bool is_true(element parent, const char* key) {
  bool value = false;
  return parent[key].get(value) == simdjson::SUCCESS && value;
}

}  // namespace

class TokenizerFile {
 public:
  explicit TokenizerFile(std::string path)
      : path_(std::move(path)), state_(std::make_unique<Tokenizer::State>()) {}

  Result<std::unique_ptr<Tokenizer>> read() {
    simdjson::dom::parser parser;
    element root;
    if (const auto error = parser.load(path_).get(root); error != simdjson::SUCCESS) {
      const bool missing = error == simdjson::IO_ERROR;
      return fail(missing ? TokenizerError::kNotFound : TokenizerError::kCorrupt,
                  fmt::format("{}: {}", path_, simdjson::error_message(error)));
    }
    if (!root.is_object()) return corrupt("must be a JSON object");
    RETURN_IF_ERROR(read_model(root));
    RETURN_IF_ERROR(read_added_tokens(root));
    RETURN_IF_ERROR(read_normalizer(root));
    RETURN_IF_ERROR(read_pre_tokenizer(root));
    RETURN_IF_ERROR(read_post_processor(root));
    RETURN_IF_ERROR(check_decoder(root));
    return std::unique_ptr<Tokenizer>(new Tokenizer(std::move(state_)));
  }

  void set_special_names(std::string bos, std::string eos) {
    state_->bos_token = std::move(bos);
    state_->eos_token = std::move(eos);
  }

 private:
  tl::unexpected<Error> corrupt(const std::string& what) const {
    return fail(TokenizerError::kCorrupt, fmt::format("{}: {}", path_, what));
  }
  tl::unexpected<Error> unsupported(const std::string& field, const std::string& found,
                                    const std::string& supported) const {
    return fail(TokenizerError::kUnsupported,
                fmt::format("{}: {} is {}; supported: {}", path_, field, found, supported));
  }

  Status set_bytes(TokenId id, std::string bytes) {
    if (id < 0 || id > kMaxTokenId) return corrupt(fmt::format("token id {} is out of range", id));
    if (static_cast<std::size_t>(id) >= state_->bytes.size()) {
      state_->bytes.resize(static_cast<std::size_t>(id) + 1);
      state_->special.resize(static_cast<std::size_t>(id) + 1, 0);
    }
    state_->bytes[static_cast<std::size_t>(id)] = std::move(bytes);
    return {};
  }

  Status read_model(element root) {
    element model;
    if (root["model"].get(model) != simdjson::SUCCESS) return corrupt("model is missing");
    const std::string type = text_of(model, "type");
    if (type != "BPE") return unsupported("model.type", "\"" + type + "\"", "\"BPE\", byte-level");
    if (is_true(model, "byte_fallback")) return unsupported("model.byte_fallback", "true", "false");
    for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
      if (!text_of(model, key).empty())
        return unsupported(fmt::format("model.{}", key), text_of(model, key), "none");
    }
    if (is_true(model, "ignore_merges")) {
      state_->encoder.set_whole_words(BytePairEncoder::WholeWords::kLookedUpFirst);
    }
    RETURN_IF_ERROR(read_vocabulary(model));
    return read_merges(model);
  }

  Status read_vocabulary(element model) {
    simdjson::dom::object vocabulary;
    if (model["vocab"].get(vocabulary) != simdjson::SUCCESS)
      return corrupt("model.vocab is missing or not an object");
    for (const auto [text, value] : vocabulary) {
      std::int64_t id = 0;
      if (value.get(id) != simdjson::SUCCESS || id < 0 || id > kMaxTokenId) {
        return corrupt(fmt::format("model.vocab: the id of \"{}\" is {}, but must be in 0..{}", text,
                                   describe(value), kMaxTokenId));
      }
      // A token that is not written in byte characters (an added one, mostly) is never the result of a merge.
      auto raw = to_raw_bytes(text);
      RETURN_IF_ERROR(set_bytes(static_cast<TokenId>(id), raw ? *raw : std::string(text)));
      if (raw) state_->encoder.add_token(std::move(*raw), static_cast<TokenId>(id));
    }
    if (!state_->encoder.covers_all_bytes()) {
      return unsupported("model.vocab", "without a token for each of the 256 bytes", "byte-level BPE");
    }
    return {};
  }

  Status read_merges(element model) {
    simdjson::dom::array merges;
    if (model["merges"].get(merges) != simdjson::SUCCESS)
      return corrupt("model.merges is missing or not a list");
    std::size_t index = 0;
    for (element merge : merges) {
      std::string left, right;
      std::string_view text;
      if (merge.get(text) == simdjson::SUCCESS) {  // "a b", as older files write it
        const std::size_t space = text.find(' ');
        if (space != std::string_view::npos) left = text.substr(0, space), right = text.substr(space + 1);
      } else if (simdjson::dom::array pair; merge.get(pair) == simdjson::SUCCESS && pair.size() == 2) {
        std::string_view a, b;
        if (pair.at(0).get(a) == simdjson::SUCCESS && pair.at(1).get(b) == simdjson::SUCCESS)
          left = a, right = b;
      }
      const auto raw_left = to_raw_bytes(left), raw_right = to_raw_bytes(right);
      if (left.empty() || right.empty() || !raw_left || !raw_right ||
          !state_->encoder.add_merge(*raw_left, *raw_right)) {
        return corrupt(fmt::format("model.merges[{}] is {}, whose parts or result are not in model.vocab",
                                   index, describe(merge)));
      }
      ++index;
    }
    return {};
  }

  Status read_added_tokens(element root) {
    simdjson::dom::array tokens;
    if (root["added_tokens"].get(tokens) != simdjson::SUCCESS) return {};
    for (element item : tokens) {
      AddedToken token;
      std::int64_t id = -1;
      if (item["id"].get(id) != simdjson::SUCCESS || id < 0 || id > kMaxTokenId ||
          text_of(item, "content").empty()) {
        return corrupt(
            fmt::format("added_tokens: {} needs an id in 0..{} and a content", describe(item), kMaxTokenId));
      }
      token.id = static_cast<TokenId>(id);
      token.content = text_of(item, "content");
      if (is_true(item, "lstrip")) token.left = AddedToken::Strip::kYes;
      if (is_true(item, "rstrip")) token.right = AddedToken::Strip::kYes;
      if (is_true(item, "single_word")) token.match = AddedToken::Match::kWholeWord;
      RETURN_IF_ERROR(set_bytes(token.id, token.content));
      state_->special[static_cast<std::size_t>(token.id)] = is_true(item, "special") ? 1 : 0;
      state_->added.push_back(std::move(token));
    }
    std::stable_sort(
        state_->added.begin(), state_->added.end(),
        [](const AddedToken& a, const AddedToken& b) { return a.content.size() > b.content.size(); });
    return {};
  }

  Status read_normalizer(element root) {
    if (is_null(root, "normalizer")) return {};
    return apply_each(root["normalizer"], "normalizer", "normalizers",
                      [this](element one, const std::string& type) -> Status {
                        if (type != "NFC") return unsupported("normalizer", describe(one), "null, NFC");
                        state_->normalizer = Tokenizer::State::Normalizer::kNfc;
                        return {};
                      });
  }

  Status read_pre_tokenizer(element root) {
    if (is_null(root, "pre_tokenizer"))
      return unsupported("pre_tokenizer", "null", "Split, ByteLevel, Digits");
    bool byte_level = false;
    const auto read_one = [&](element one, const std::string& type) -> Status {
      if (type == "Split") return read_split(one);
      if (type == "Digits") {
        return add_split(is_true(one, "individual_digits") ? "\\p{N}" : "\\p{N}+",
                         SplitExpression::Behavior::kIsolated);
      }
      if (type != "ByteLevel") return unsupported("pre_tokenizer", describe(one), "Split, ByteLevel, Digits");
      byte_level = true;
      if (is_true(one, "add_prefix_space")) state_->prefix_space = Tokenizer::State::PrefixSpace::kYes;
      bool use_regex = true;
      if (one["use_regex"].get(use_regex) != simdjson::SUCCESS) use_regex = true;
      return use_regex ? add_split(kByteLevelPattern, SplitExpression::Behavior::kIsolated) : Status{};
    };
    RETURN_IF_ERROR(apply_each(root["pre_tokenizer"], "pre_tokenizer", "pretokenizers", read_one));
    return byte_level ? Status{} : unsupported("pre_tokenizer", "without ByteLevel", "byte-level BPE");
  }

  Status read_split(element one) {
    element pattern;
    std::string expression;
    if (one["pattern"].get(pattern) == simdjson::SUCCESS) {
      expression = text_of(pattern, "Regex");
      if (const std::string literal = text_of(pattern, "String"); !literal.empty())
        expression = "\\Q" + literal + "\\E";
    }
    if (expression.empty()) return corrupt("pre_tokenizer: Split without a pattern");
    const std::string behavior = text_of(one, "behavior");
    const bool invert = is_true(one, "invert");
    using Behavior = SplitExpression::Behavior;
    if (behavior == "Isolated") return add_split(expression, Behavior::kIsolated);
    if (behavior == "Removed") return add_split(expression, invert ? Behavior::kMatches : Behavior::kRemoved);
    return unsupported("pre_tokenizer.behavior", "\"" + behavior + "\"", "\"Isolated\", \"Removed\"");
  }

  Status add_split(const std::string& expression, SplitExpression::Behavior behavior) {
    auto compiled = SplitExpression::compile(expression, behavior);
    if (!compiled) return fail(compiled.error().with_context(path_ + ": pre_tokenizer"));
    state_->splits.push_back(std::move(*compiled));
    return {};
  }

  Status read_post_processor(element root) {
    if (is_null(root, "post_processor")) return {};
    const auto read_one = [this](element one, const std::string& type) -> Status {
      if (type == "ByteLevel") return {};  // offsets only
      if (type != "TemplateProcessing")
        return unsupported("post_processor", describe(one), "null, ByteLevel, TemplateProcessing");
      simdjson::dom::array parts;
      if (one["single"].get(parts) != simdjson::SUCCESS) return corrupt("post_processor.single is missing");
      bool seen_text = false;
      for (element part : parts) {
        element special;
        if (part["SpecialToken"].get(special) != simdjson::SUCCESS) {
          seen_text = true;
          continue;
        }
        simdjson::dom::array ids;
        if (one["special_tokens"][text_of(special, "id")]["ids"].get(ids) != simdjson::SUCCESS) {
          return corrupt(fmt::format("post_processor: special token {} has no ids", describe(special)));
        }
        for (element id : ids) {
          std::int64_t value = 0;
          if (id.get(value) != simdjson::SUCCESS) return corrupt("post_processor: an id is not a number");
          (seen_text ? state_->suffix_ids : state_->prefix_ids).push_back(static_cast<TokenId>(value));
        }
      }
      return {};
    };
    return apply_each(root["post_processor"], "post_processor", "processors", read_one);
  }

  Status check_decoder(element root) {
    if (is_null(root, "decoder")) return {};
    const std::string type = text_of(root["decoder"], "type");
    return type == "ByteLevel" ? Status{} : unsupported("decoder.type", "\"" + type + "\"", "\"ByteLevel\"");
  }

  // One, or a Sequence of them under `list_key`.
  template <typename F>
  Status apply_each(element one, const char* field, const char* list_key, const F& f) {
    const std::string type = text_of(one, "type");
    if (type != "Sequence") return f(one, type);
    simdjson::dom::array items;
    if (one[list_key].get(items) != simdjson::SUCCESS)
      return corrupt(fmt::format("{}.{} is missing", field, list_key));
    for (element item : items) RETURN_IF_ERROR(f(item, text_of(item, "type")));
    return {};
  }

  std::string path_;
  std::unique_ptr<Tokenizer::State> state_;
};

namespace {
// "<s>", or {"content": "<s>", ...}
std::string token_name(element config, const char* key) {
  element value;
  if (config[key].get(value) != simdjson::SUCCESS) return {};
  return value.is_object() ? text_of(value, "content") : text_of(config, key);
}
}  // namespace

Result<std::unique_ptr<Tokenizer>> Tokenizer::load(const std::filesystem::path& folder) {
  TokenizerFile file((folder / "tokenizer.json").string());
  simdjson::dom::parser parser;
  element config;
  const auto config_path = folder / "tokenizer_config.json";
  if (std::filesystem::exists(config_path)) {
    if (const auto error = parser.load(config_path.string()).get(config); error != simdjson::SUCCESS) {
      return fail(TokenizerError::kCorrupt,
                  fmt::format("{}: {}", config_path.string(), simdjson::error_message(error)));
    }
    file.set_special_names(token_name(config, "bos_token"), token_name(config, "eos_token"));
  }
  return file.read();
}

}  // namespace concertina::tokenizer
