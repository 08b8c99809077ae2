#include "tokenizer/model_file.h"

#include <fmt/format.h>

#include <algorithm>

#include "tokenizer/byte_level.h"

namespace concertina::tokenizer {

namespace {

Status check_unset(const JsonField& model, std::string_view name) {
  const auto field = model.find(name);
  if (!field || (field->is_string() && field->string()->empty())) return {};
  return field->unsupported("null, \"\"");
}

Status check_bpe(const JsonField& model) {
  // The oldest files name no type: it is BPE if it has merges.
  ASSIGN_OR_RETURN(const auto type, model.string_or("type", model.find("merges") ? "BPE" : "none"));
  if (type == "none") return model.invalid("\"type\" is missing");
  if (type != "BPE") return model.find("type")->unsupported("BPE");
  if (const auto dropout = model.find("dropout")) {
    double probability = 0;
    if (dropout->value().get(probability) || probability != 0) return dropout->unsupported("null");
  }
  RETURN_IF_ERROR(check_unset(model, "continuing_subword_prefix"));
  return check_unset(model, "end_of_word_suffix");
}

Result<std::size_t> count_ids(const JsonField& vocab, const std::vector<AddedToken>& added) {
  simdjson::dom::object entries;
  if (vocab.value().get(entries)) return vocab.invalid("expected an object, found " + vocab.excerpt());
  TokenId highest = -1;
  for (const auto entry : entries) {
    const auto id = whole_number(entry.value);
    if (!id || *id < 0 || *id > kMaxTokenId) {
      return vocab.invalid(fmt::format("token \"{}\": expected an id from 0 to {}, found {}", entry.key,
                                       kMaxTokenId, simdjson::minify(entry.value)));
    }
    highest = std::max(highest, static_cast<TokenId>(*id));
  }
  for (const AddedToken& token : added) highest = std::max(highest, token.id);
  if (highest < 0) return vocab.invalid("expected tokens, found an empty object");
  return static_cast<std::size_t>(highest) + 1;
}

Status add_entries(const JsonField& vocab, Vocabulary& vocabulary) {
  const simdjson::dom::object entries = vocab.value();
  for (const auto entry : entries) {
    const auto id = static_cast<TokenId>(*whole_number(entry.value));
    switch (vocabulary.add(entry.key, id, Vocabulary::Origin::kModel)) {
      case Vocabulary::Added::kNew:
        break;
      case Vocabulary::Added::kIdTaken:
        return vocab.invalid(
            fmt::format("tokens \"{}\" and \"{}\" both have id {}", vocabulary.text_of(id), entry.key, id));
      case Vocabulary::Added::kTextTaken:
        return vocab.invalid(fmt::format("token \"{}\" is there twice", entry.key));
    }
  }
  return {};
}

Status add_added(const JsonField& root, const std::vector<AddedToken>& added, Vocabulary& vocabulary) {
  for (const AddedToken& token : added) {
    if (vocabulary.text_of(token.id) == token.content && vocabulary.contains(token.id)) continue;
    switch (vocabulary.add(token.content, token.id, Vocabulary::Origin::kAdded)) {
      case Vocabulary::Added::kNew:
        break;
      case Vocabulary::Added::kIdTaken:
        return root.invalid(fmt::format("added token \"{}\" has id {}, which is token \"{}\"", token.content,
                                        token.id, vocabulary.text_of(token.id)));
      case Vocabulary::Added::kTextTaken:
        return root.invalid(fmt::format("added token \"{}\" has id {}, but the vocabulary has it as id {}",
                                        token.content, token.id, *vocabulary.id_of(token.content)));
    }
  }
  return {};
}

struct Pair {
  std::string_view left, right;
};

// "a b" or ["a", "b"].
std::optional<Pair> read_pair(simdjson::dom::element element) {
  std::string_view text;
  if (!element.get(text)) {
    const std::size_t space = text.find(' ');
    if (space == std::string_view::npos || text.find(' ', space + 1) != std::string_view::npos)
      return std::nullopt;
    return Pair{text.substr(0, space), text.substr(space + 1)};
  }
  simdjson::dom::array array;
  Pair pair;
  if (element.get(array) || array.size() != 2 || array.at(0).get(pair.left) || array.at(1).get(pair.right)) {
    return std::nullopt;
  }
  return pair;
}

bool is_version_line(
    simdjson::dom::element element) {  // the header of a merges.txt, carried over by old converters
  std::string_view text;
  return !element.get(text) && text.starts_with("#version");
}

struct Merges {
  MergeTable table;
  std::vector<JoinTable::Pair> joined;  // last symbol of a left token, first of a right one
  JoinTable::Unlisted unlisted = JoinTable::Unlisted::kNeverJoin;
};

// Reads model.merges, one after the other.
class MergeReader {
 public:
  MergeReader(const JsonField& list, const Vocabulary& vocabulary, const SymbolTable& symbols,
              const BpeOptions& options, std::size_t n_merges)
      : list_(list),
        vocabulary_(vocabulary),
        symbols_(symbols),
        options_(options),
        merges_{MergeTable(n_merges), {}} {
    merges_.joined.reserve(n_merges);
  }

  Status add(simdjson::dom::element element) {
    const auto problem = [&](std::string_view what) {
      return list_.invalid(fmt::format("merge {} ({}): {}", rank_, simdjson::minify(element), what));
    };
    const auto pair = read_pair(element);
    if (!pair) return problem("expected \"left right\" or [\"left\", \"right\"]");
    text_.assign(pair->left).append(pair->right);
    const auto left = vocabulary_.model_id_of(pair->left), right = vocabulary_.model_id_of(pair->right),
               merged = vocabulary_.model_id_of(text_);
    if (!left) return problem(fmt::format("\"{}\" is no token of the vocabulary", pair->left));
    if (!right) return problem(fmt::format("\"{}\" is no token of the vocabulary", pair->right));
    if (!merged) return problem(fmt::format("\"{}\" is no token of the vocabulary", text_));
    merges_.table.add(*left, *right, {rank_++, *merged});
    note_join(*pair, *left, *right);
    return {};
  }

  Merges take() { return std::move(merges_); }

 private:
  // Tokens of bytes and the unknown one are symbols of their own, whatever their text: where some merge takes
  // such a token, which no published file's does, nothing is said about what joins.
  void note_join(const Pair& pair, TokenId left, TokenId right) {
    if (stands_alone(pair.left, left) || stands_alone(pair.right, right)) {
      merges_.unlisted = JoinTable::Unlisted::kMayJoin;
    }
    const TokenId last = symbols_.last_of(pair.left), first = symbols_.first_of(pair.right);
    if (last != SymbolTable::kNone && first != SymbolTable::kNone) merges_.joined.emplace_back(last, first);
  }

  bool stands_alone(std::string_view text, TokenId id) const {
    return id == options_.unknown || (options_.byte_fallback && byte_of_fallback_token(text));
  }

  const JsonField& list_;
  const Vocabulary& vocabulary_;
  const SymbolTable& symbols_;
  const BpeOptions& options_;
  Merges merges_;
  std::uint32_t rank_ = 0;
  std::string text_;
};

Result<Merges> read_merges(const JsonField& model, const Vocabulary& vocabulary, const SymbolTable& symbols,
                           const BpeOptions& options) {
  ASSIGN_OR_RETURN(const auto list, model.at("merges"));
  simdjson::dom::array entries;
  if (list.value().get(entries)) return list.invalid("expected an array, found " + list.excerpt());
  std::size_t n_merges = 0;  // array.size() stops counting at 2^24
  for ([[maybe_unused]] const auto entry : entries) ++n_merges;
  MergeReader reader(list, vocabulary, symbols, options, n_merges);
  for (const auto entry : entries) {
    if (!is_version_line(entry)) RETURN_IF_ERROR(reader.add(entry));
  }
  return reader.take();
}

Result<BpeOptions> read_options(const JsonField& model, SymbolUnit unit, const Vocabulary& vocabulary) {
  BpeOptions options;
  options.unit = unit;
  ASSIGN_OR_RETURN(options.byte_fallback, model.boolean_or("byte_fallback", false));
  if (options.byte_fallback && unit == SymbolUnit::kByte)
    return model.find("byte_fallback")->unsupported("false, with a ByteLevel pre-tokenizer");
  ASSIGN_OR_RETURN(options.ignore_merges, model.boolean_or("ignore_merges", false));
  ASSIGN_OR_RETURN(options.fuse_unknown, model.boolean_or("fuse_unk", false));
  if (const auto unknown = model.find("unk_token")) {
    ASSIGN_OR_RETURN(const auto text, unknown->string());
    options.unknown = vocabulary.id_of(text);
    if (!options.unknown) return unknown->invalid(fmt::format("\"{}\" is no token of the vocabulary", text));
  }
  return options;
}

}  // namespace

Result<ModelFile> read_model(const JsonField& root, SymbolUnit unit, const std::vector<AddedToken>& added) {
  ASSIGN_OR_RETURN(const auto model, root.at("model"));
  RETURN_IF_ERROR(check_bpe(model));
  ASSIGN_OR_RETURN(const auto vocab, model.at("vocab"));
  ASSIGN_OR_RETURN(const std::size_t n_ids, count_ids(vocab, added));
  Vocabulary vocabulary(n_ids);
  RETURN_IF_ERROR(add_entries(vocab, vocabulary));
  RETURN_IF_ERROR(add_added(root, added, vocabulary));
  SymbolTable symbols(vocabulary, unit);
  ASSIGN_OR_RETURN(const BpeOptions options, read_options(model, unit, vocabulary));
  ASSIGN_OR_RETURN(Merges merges, read_merges(model, vocabulary, symbols, options));
  return ModelFile{std::move(vocabulary), std::move(merges.table),
                   JoinTable(std::move(merges.joined), merges.unlisted), std::move(symbols), options};
}

Result<AddedToken> read_added_token(const JsonField& field, TokenId id) {
  AddedToken token;
  token.id = id;
  ASSIGN_OR_RETURN(const auto content_field, field.at("content"));
  ASSIGN_OR_RETURN(const auto content, content_field.string());
  if (content.empty()) return content_field.invalid("expected a text, found an empty one");
  token.content = content;
  ASSIGN_OR_RETURN(token.special, field.boolean_or("special", false));
  ASSIGN_OR_RETURN(token.single_word, field.boolean_or("single_word", false));
  ASSIGN_OR_RETURN(token.lstrip, field.boolean_or("lstrip", false));
  ASSIGN_OR_RETURN(token.rstrip, field.boolean_or("rstrip", false));
  ASSIGN_OR_RETURN(token.normalized, field.boolean_or("normalized", !token.special));
  return token;
}

Result<std::vector<AddedToken>> read_added_tokens(const JsonField& root) {
  std::vector<AddedToken> tokens;
  const auto list = root.find("added_tokens");
  if (!list) return tokens;
  ASSIGN_OR_RETURN(const auto items, list->items());
  for (const JsonField& item : items) {
    ASSIGN_OR_RETURN(const auto id_field, item.at("id"));
    ASSIGN_OR_RETURN(const TokenId id, id_field.token_id());
    ASSIGN_OR_RETURN(AddedToken token, read_added_token(item, id));
    tokens.push_back(std::move(token));
  }
  return tokens;
}

}  // namespace concertina::tokenizer
