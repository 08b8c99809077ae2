#include "tools/call_frames.h"

#include <algorithm>

#include "tools/tag_frames.h"

namespace concertina::tools {

using Json = nlohmann::ordered_json;

namespace {

Json some(Json frame, const char* between) {
  Json out{{"some", std::move(frame)}};
  if (*between != '\0') out["between"] = between;
  return out;
}
Json maybe(Json frame) { return {{"maybe", std::move(frame)}}; }
Json any_of(Json frames) { return frames.size() == 1 ? frames[0] : Json{{"any_of", std::move(frames)}}; }

Json joined(std::initializer_list<Json> frames) {
  Json out = Json::array();
  for (const Json& frame : frames) {
    if (frame.is_array()) {
      out.insert(out.end(), frame.begin(), frame.end());
    } else if (frame != "") {
      out.push_back(frame);
    }
  }
  return out;
}

class CallFrameWriter {
 public:
  CallFrameWriter(const Formats& formats, const std::vector<Callable>& functions, const CallFrames& wanted)
      : formats_(formats), functions_(functions), wanted_(wanted) {
    for (const Callable& one : functions_) schemas_.push_back(one.parameters);
    if (wanted_.document) schemas_.push_back(*wanted_.document);
  }

  Json source() {
    Json frame = formats_.harmony == Formats::Harmony::kYes ? joined({harmony_thoughts(), harmony_end()})
                                                            : joined({thought(), answer()});
    return {{"schemas", std::move(schemas_)}, {"frame", std::move(frame)}};
  }

 private:
  using Style = CallFormat::Style;
  // Each function by itself: of(function, its schema's frame).
  template <typename Of>
  Json each(const Of& of) {
    Json frames = Json::array();
    for (std::size_t i = 0; i < functions_.size(); ++i)
      frames.push_back(of(functions_[i], Json{{"schema", i}}));
    return any_of(std::move(frames));
  }
  Json several(Json call, const char* between) const {
    return wanted_.count == CallFrames::Count::kOne ? std::move(call) : some(std::move(call), between);
  }

  // ---- thoughts

  Json thought() const {
    using Thought = CallFrames::Thought;
    const Json space = maybe(any_of(Json::array({"\n", "\n\n"})));
    if (wanted_.thought == Thought::kEnded) return Json::array({space});
    if (wanted_.thought == Thought::kNone || formats_.reasoning == nullptr) return Json::array();
    Json rest = joined({Json{{"up_to", {std::string(formats_.reasoning->end)}}}, space});
    if (wanted_.thought == Thought::kUnderWay) return rest;
    return Json::array({maybe(joined({marked_frame(formats_.reasoning->begin), rest}))});
  }

  // ---- content and calls

  Json answer() {
    const CallFormat& format = *formats_.calls;
    if (wanted_.text == CallFrames::Text::kNone) return joined({first_mark(), calls()});
    if (wanted_.document)
      return Json::array({any_of(Json::array({joined({first_mark(), calls()}), document()}))});
    if (format.bare == CallFormat::Bare::kYes)  // what begins with a brace would be a call
      return Json::array({any_of(Json::array({calls(), {{"regex", "\\s*([^{\\s][\\s\\S]*)?"}}}))});
    const std::string begin(format.begin_marks[0]);
    Json all = Json::array(), others = Json::array();
    for (const std::string_view mark : format.begin_marks) {
      all.push_back(std::string(mark));
      if (mark != begin) others.push_back(std::string(mark));
    }
    Json text{{"up_to", {begin}}};
    if (!others.empty()) text["without"] = std::move(others);
    return Json::array({any_of(Json::array({{{"without", std::move(all)}}, joined({text, calls()})}))});
  }

  Json document() const { return {{"schema", functions_.size()}}; }

  Json first_mark() const {
    const bool is_bare = formats_.calls->bare == CallFormat::Bare::kYes;
    return is_bare ? Json::array() : marked_frame(formats_.calls->begin_marks[0]);
  }

  // All calls, but for the mark that the first one begins with.
  Json calls() {
    const CallFormat& format = *formats_.calls;
    if (format.bare == CallFormat::Bare::kYes) return joined({several(object("parameters"), "; ")});
    if (format.style == Style::kNamed) return named_calls(format);
    if (format.style == Style::kMistral) return mistral_calls();
    const Json one = format.style == Style::kTags
                         ? tagged_call(format)
                         : joined({"\n", object("arguments"), "\n", marked_frame(format.closing[0])});
    return with_more(one, "\n");
  }

  // One after the other, each with its mark; the first one's is written already.
  Json with_more(const Json& call, const char* between) const {
    if (wanted_.count == CallFrames::Count::kOne) return call;
    return joined({call, maybe(joined({between, some(joined({first_mark(), call}), between)}))});
  }

  Json object(const char* arguments) {
    return each([&](const Callable& function, const Json& schema) {
      return Json::array({"{\"name\": \"" + function.name + "\", \"" + arguments + "\": ", schema, "}"});
    });
  }

  Json mistral_calls() {
    const Json list = joined({maybe(" "), "[", several(object("arguments"), ", "), "]"});
    const Json one = joined({each([](const Callable& function, const Json& schema) {
      return joined({function.name, maybe(marked_frame("[ARGS]")), schema});
    })});
    return Json::array({any_of(Json::array({list, with_more(one, "")}))});
  }

  Json named_calls(const CallFormat& format) {
    const NamedMarks& marks = format.named;
    const bool has_fence = format.closing.size() == 3;  // DeepSeek V3's JSON is fenced
    std::string close = has_fence ? "\n" : "";
    for (std::size_t i = 0; i + 1 < format.closing.size(); ++i) close += format.closing[i];
    const bool has_id = marks.id_in_name == NamedMarks::IdInName::kYes;
    const Json name = each([&](const Callable& function, const Json& schema) {
      return joined({has_id ? "functions." + function.name + ":" : function.name,
                     has_id ? Json{{"regex", "[0-9]{1,3}"}} : Json(""), marked_frame(marks.name_end[0]),
                     schema});
    });
    const Json one = joined({marked_frame(marks.call_begin), name, marked_frame(close)});
    return joined({several(one, has_fence ? "\n" : ""), marked_frame(format.closing.back())});
  }

  Json tagged_call(const CallFormat& format) {
    const TagMarks& tags = format.tags;
    TagFrames frames(tags, functions_, schemas_);
    const std::string begin = tags.name_begin.empty() ? "" : "\n" + std::string(tags.name_begin);
    const std::string line = tags.name_end[0] == "\n" ? "" : "\n";
    Json close = Json::array();
    for (const std::string_view mark : format.closing)
      close = joined({close, close.empty() ? "" : "\n", marked_frame(mark)});
    return joined(
        {begin, each([&](const Callable& function, const Json&) {
           return joined({function.name, std::string(tags.name_end[0]) + line, frames.arguments(function)});
         }),
         close});
  }

  // ---- harmony: a row of messages. A call's own end is a token that ends the answer.

  static Json harmony_message(const char* channel) {
    return joined({marked_frame("<|channel|>"), channel, marked_frame("<|message|>"),
                   Json{{"up_to", {"<|end|>"}}}, marked_frame("<|start|>"), "assistant"});
  }
  Json harmony_thoughts() const {
    if (wanted_.thought == CallFrames::Thought::kNone) return Json::array();
    Json messages = Json::array({harmony_message("analysis")});
    if (wanted_.text == CallFrames::Text::kMayCome) messages.push_back(harmony_message("commentary"));
    return Json::array({maybe(some(any_of(std::move(messages)), ""))});
  }
  Json harmony_end() {
    const Json call = each([](const Callable& function, const Json& schema) {
      return joined({marked_frame("<|channel|>"), "commentary to=functions." + function.name + " ",
                     marked_frame("<|constrain|>"), "json", marked_frame("<|message|>"), schema});
    });
    if (wanted_.text == CallFrames::Text::kNone) return Json::array({call});
    const Json final = joined({marked_frame("<|channel|>"), "final", marked_frame("<|message|>"),
                               wanted_.document ? document() : Json{{"without", {"<|end|>"}}}});
    return Json::array({any_of(Json::array({call, final}))});
  }

  const Formats& formats_;
  const std::vector<Callable>& functions_;
  const CallFrames wanted_;
  Json schemas_ = Json::array();
};

}  // namespace

Json call_frames(const Formats& formats, const std::vector<Callable>& functions, const CallFrames& wanted) {
  return CallFrameWriter(formats, functions, wanted).source();
}

bool is_callable(std::string_view name) {
  return !name.empty() && name.size() <= 128 && std::ranges::all_of(name, [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
           c == '-' || c == '.';
  });
}

}  // namespace concertina::tools
