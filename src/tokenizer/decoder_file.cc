#include "tokenizer/decoder_file.h"

#include "tokenizer/component_field.h"

namespace concertina::tokenizer {

namespace {

constexpr std::string_view kSupported =
    "ByteLevel alone; Replace, Strip, Metaspace, then ByteFallback, then Fuse, then Strip at the start";

Result<std::size_t> count_at(const JsonField& field, std::string_view name) {
  ASSIGN_OR_RETURN(const auto count_field, field.at(name));
  std::uint64_t count = 0;
  if (count_field.value().get(count)) {
    return count_field.invalid("expected a count, found " + count_field.excerpt());
  }
  return static_cast<std::size_t>(count);
}

Result<StripEdit> read_strip(const JsonField& field) {
  StripEdit edit;
  ASSIGN_OR_RETURN(const auto content, character_at(field, "content"));
  edit.content = content;
  ASSIGN_OR_RETURN(edit.n_begin, count_at(field, "start"));
  ASSIGN_OR_RETURN(edit.n_end, count_at(field, "stop"));
  return edit;
}

Result<ReplaceEdit> read_replace(const JsonField& field) {
  ASSIGN_OR_RETURN(const auto pattern, read_pattern(field));
  if (pattern.kind != PatternField::Kind::kLiteral || pattern.text.empty()) {
    return field.at("pattern")->unsupported("{\"String\": ...}, not empty");
  }
  ASSIGN_OR_RETURN(const auto content_field, field.at("content"));
  ASSIGN_OR_RETURN(const auto content, content_field.string());
  return ReplaceEdit{std::string(pattern.text), std::string(content)};
}

Result<MetaspaceEdit> read_metaspace(const JsonField& field) {
  ASSIGN_OR_RETURN(const auto replacement, character_at(field, "replacement"));
  ASSIGN_OR_RETURN(const bool add_prefix_space, field.boolean_or("add_prefix_space", true));
  ASSIGN_OR_RETURN(const auto scheme,
                   field.string_or("prepend_scheme", add_prefix_space ? "always" : "never"));
  return MetaspaceEdit{std::string(replacement),
                       scheme == "never" ? MetaspaceEdit::First::kKept : MetaspaceEdit::First::kDropped};
}

// The steps in the order that this plan has them; each class knows how far they have come.
class PlanReader {
 public:
  PlanReader() { plan_.bytes = DecoderPlan::Bytes::kNone; }

  Status add(const JsonField& field) {
    ASSIGN_OR_RETURN(const auto type, type_of(field));
    if (type == "Fuse") {
      stage_ = Stage::kText;
    } else if (type == "ByteFallback" && stage_ == Stage::kTokens) {
      plan_.bytes = DecoderPlan::Bytes::kFallback;
      stage_ = Stage::kBytes;
    } else if (type == "Strip" && stage_ != Stage::kBytes) {
      return add_strip(field);
    } else if (type == "Replace" && stage_ == Stage::kTokens) {
      ASSIGN_OR_RETURN(auto edit, read_replace(field));
      plan_.edits.emplace_back(std::move(edit));
    } else if (type == "Metaspace" && stage_ == Stage::kTokens) {
      ASSIGN_OR_RETURN(auto edit, read_metaspace(field));
      plan_.edits.emplace_back(std::move(edit));
    } else {
      return unsupported_type(field, kSupported);
    }
    return {};
  }

  DecoderPlan take() { return std::move(plan_); }

 private:
  enum class Stage { kTokens, kBytes, kText };  // what the next step edits

  Status add_strip(const JsonField& field) {
    ASSIGN_OR_RETURN(auto edit, read_strip(field));
    if (stage_ == Stage::kTokens) {
      plan_.edits.emplace_back(std::move(edit));
      return {};
    }
    // A stream would have to hold back what may turn out to be its end.
    if (edit.n_end != 0) return field.at("stop")->unsupported("0 after Fuse");
    plan_.text_begin.push_back(std::move(edit));
    return {};
  }

  DecoderPlan plan_;
  Stage stage_ = Stage::kTokens;
};

}  // namespace

Result<DecoderPlan> read_decoder(const JsonField& root) {
  ASSIGN_OR_RETURN(const auto field, root.at("decoder"));
  ASSIGN_OR_RETURN(const auto steps, steps_of(field, "decoders"));
  if (steps.size() == 1) {
    ASSIGN_OR_RETURN(const auto type, type_of(steps[0]));
    if (type == "ByteLevel") return DecoderPlan{};
  }
  PlanReader reader;
  for (const JsonField& step : steps) RETURN_IF_ERROR(reader.add(step));
  return reader.take();
}

}  // namespace concertina::tokenizer
