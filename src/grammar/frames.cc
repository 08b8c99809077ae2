#include "grammar/frames.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "grammar/json_source.h"
#include "grammar/marked_text.h"
#include "grammar/regex.h"
#include "grammar/schema_reader.h"

namespace concertina::grammar {
namespace {

// One source to rules. Frames are nested no deeper than the source may be.
class FrameReader {
 public:
  FrameReader(RuleSet& rules, const Json& source) : rules_(rules), source_(source), json_(rules) {}

  Status read() {
    const RuleIndex root = rules_.add_rule("frames");
    const auto [name, start, end] = rules_.rules()[root];
    if (!source_.is_object() || !source_.contains("frame"))
      return invalid_keyword("", "an object with \"frame\" expected");
    if (source_.contains("schemas") && !source_["schemas"].is_array())
      return invalid_keyword("/schemas", "an array expected");
    ASSIGN_OR_RETURN(const NodeIndex last, append(start, source_["frame"], "/frame"));
    rules_.add_skip(last, end);
    return {};
  }

 private:
  Result<NodeIndex> append(NodeIndex from, const Json& frame, const std::string& at) {
    if (rules_.is_full()) return from;
    if (frame.is_string()) return rules_.append_literal(from, frame.get<std::string>());
    if (frame.is_array()) return append_all(from, frame, at);
    for (const auto& [keyword, append_one] : kKeywords)
      if (frame.is_object() && frame.contains(keyword))
        return (this->*append_one)(from, frame, frame[keyword], at + "/" + keyword);
    return invalid_keyword(at, "a text, an array or an object with a frame's keyword expected");
  }

  Result<NodeIndex> append_all(NodeIndex from, const Json& frames, const std::string& at) {
    for (std::size_t i = 0; i < frames.size(); ++i) {
      ASSIGN_OR_RETURN(from, append(from, frames[i], fmt::format("{}/{}", at, i)));
    }
    return from;
  }

  Result<NodeIndex> append_schema(NodeIndex from, const Json&, const Json& number, const std::string& at) {
    const Json none = Json::array();
    const Json& schemas = source_.contains("schemas") ? source_["schemas"] : none;
    if (!number.is_number_unsigned() || number.get<std::size_t>() >= schemas.size())
      return invalid_keyword(at, "the place of one of \"schemas\" expected");
    const auto i = number.get<std::size_t>();
    const auto [found, is_new] = schemas_.try_emplace(i, 0);
    if (is_new) {
      auto rule = SchemaReader(rules_, schemas[i], json_).read();
      if (!rule) return fail(rule.error().with_context(fmt::format("schemas[{}]", i)));
      found->second = *rule;
    }
    return rules_.append_call(from, found->second);
  }

  Result<NodeIndex> append_any(NodeIndex from, const Json&, const Json& frames, const std::string& at) {
    if (!frames.is_array() || frames.empty()) return invalid_keyword(at, "an array of one or more expected");
    const NodeIndex end = rules_.add_node();
    for (std::size_t i = 0; i < frames.size(); ++i) {
      ASSIGN_OR_RETURN(const NodeIndex last, append(from, frames[i], fmt::format("{}/{}", at, i)));
      rules_.add_skip(last, end);
    }
    return end;
  }

  Result<NodeIndex> append_maybe(NodeIndex from, const Json&, const Json& frame, const std::string& at) {
    ASSIGN_OR_RETURN(const NodeIndex last, append(from, frame, at));
    const NodeIndex end = rules_.add_node();
    rules_.add_skip(last, end);
    rules_.add_skip(from, end);
    return end;
  }

  // Begins at a node of its own, to which nothing but its repetitions leads back.
  Result<NodeIndex> append_some(NodeIndex from, const Json& frame, const Json& one, const std::string& at) {
    const NodeIndex begin = rules_.add_node(), end = rules_.add_node();
    rules_.add_skip(from, begin);
    ASSIGN_OR_RETURN(const NodeIndex last, append(begin, one, at));
    rules_.add_skip(last, end);
    NodeIndex again = last;
    if (frame.contains("between")) {
      ASSIGN_OR_RETURN(again, append(last, frame["between"], at + "/between"));
    }
    rules_.add_skip(again, begin);
    return end;
  }

  Result<NodeIndex> append_mark(NodeIndex from, const Json&, const Json& mark, const std::string& at) {
    if (!mark.is_string() || mark == "") return invalid_keyword(at, "a text expected");
    const NodeIndex end = rules_.append_literal(from, mark.get<std::string>());
    rules_.add_skip(rules_.append_literal(from, special_token(mark.get<std::string>())), end);
    return end;
  }

  Result<NodeIndex> append_up_to(NodeIndex from, const Json& frame, const Json& marks,
                                 const std::string& at) {
    return append_text(from, marks, frame.contains("without") ? frame["without"] : Json::array(), at);
  }
  Result<NodeIndex> append_without(NodeIndex from, const Json&, const Json& marks, const std::string& at) {
    return append_text(from, Json::array(), marks, at);
  }

  // Rules of their own, since many places have the same marks.
  Result<NodeIndex> append_text(NodeIndex from, const Json& ends, const Json& absent, const std::string& at) {
    const auto is_mark = [](const Json& mark) { return mark.is_string() && mark != ""; };
    for (const Json& marks : {ends, absent})
      if (!marks.is_array() || !std::all_of(marks.begin(), marks.end(), is_mark))
        return invalid_keyword(at, "an array of texts expected");
    const auto [found, is_new] = marked_.try_emplace(ends.dump() + absent.dump(), 0);
    if (is_new) {
      found->second = rules_.add_rule("text");
      const auto [name, start, end] = rules_.rules()[found->second];
      using Marks = std::vector<std::string>;
      MarkedText(rules_, ends.get<Marks>(), absent.get<Marks>()).append(start, end);
    }
    return rules_.append_call(from, found->second);
  }

  Result<NodeIndex> append_regex(NodeIndex from, const Json&, const Json& expression, const std::string& at) {
    return append_expression(from, expression, at, RegexMatch::kWhole);
  }
  Result<NodeIndex> append_pattern(NodeIndex from, const Json&, const Json& expression,
                                   const std::string& at) {
    return append_expression(from, expression, at, RegexMatch::kSearch);
  }
  Result<NodeIndex> append_expression(NodeIndex from, const Json& expression, const std::string& at,
                                      RegexMatch match) {
    if (!expression.is_string()) return invalid_keyword(at, "a text expected");
    auto end = grammar::append_regex(rules_, from, expression.get<std::string>(), match, Writing::kPlain);
    if (!end) return fail(end.error().with_context("#" + at));
    return end;
  }

  using Append = Result<NodeIndex> (FrameReader::*)(NodeIndex, const Json& frame, const Json& value,
                                                    const std::string& at);
  static constexpr std::pair<const char*, Append> kKeywords[] = {
      {"schema", &FrameReader::append_schema},   {"any_of", &FrameReader::append_any},
      {"maybe", &FrameReader::append_maybe},     {"some", &FrameReader::append_some},
      {"mark", &FrameReader::append_mark},       {"up_to", &FrameReader::append_up_to},
      {"without", &FrameReader::append_without}, {"regex", &FrameReader::append_regex},
      {"pattern", &FrameReader::append_pattern}};

  RuleSet& rules_;
  const Json& source_;
  JsonRules json_;
  std::map<std::size_t, RuleIndex> schemas_;
  std::map<std::string, RuleIndex> marked_;
};

}  // namespace

Status read_frames(RuleSet& rules, std::string_view source) {
  ASSIGN_OR_RETURN(const Json parsed, parse_json_source(source));
  return FrameReader(rules, parsed).read();
}

}  // namespace concertina::grammar
