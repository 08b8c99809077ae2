#pragma once

#include <string>
#include <vector>

#include "server/fields.h"

// Other APIs than OpenAI's completions, as thin translations: a request becomes a chat completion's body, and
// what comes of that is written in the dialect's words. What neither side knows goes through as it is.
namespace concertina::server::dialects {

// The body under work: fields are read from the dialect's, and a chat completion's grows.
class Translation {
 public:
  // `body`: an object, which outlives this.
  explicit Translation(const Json& body) : body_(body), fields_(body) {}

  Fields& fields() { return fields_; }
  Json& chat() { return chat_; }
  void add(const char* name, Json value) { chat_[name] = std::move(value); }
  void rename(const char* from, const char* to);  // the value as it is, where there is one
  void refuse(const char* name, const std::vector<Json>& neutral, const char* why);
  // The chat's body with every field that was not asked for, or the first thing that was wrong.
  ApiResult<Json> finish();

  // For values within fields: the first error is kept, and false returned.
  bool wrong(const std::string& path, const std::string& must_be, const Json* found);

 private:
  const Json& body_;
  Fields fields_;
  Json chat_ = Json::object();
};

const Json* member(const Json& object, const char* key);  // null: absent, null or no object
bool is_text(const Json* value);
// Text of a member; empty where it is none.
std::string text_of(const Json& object, const char* key);
// Puts a line behind a text. In place: a client may send a hundred thousand of them.
void add_line(Json& text, const char* line_end, const std::string& line);
// The members of an object less "type" and nulls, in time that grows as their number does.
Json without_type(const Json& object);
std::string dumped(const Json& json);  // bytes that are not UTF-8 replaced

}  // namespace concertina::server::dialects
