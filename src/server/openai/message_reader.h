#pragma once

#include <optional>
#include <string>

#include "chat/chat_template.h"
#include "server/fields.h"

namespace concertina::server::openai {

// Checks a chat's messages against OpenAI's types and writes them in the shape that a template wants. The
// first thing that is wrong goes to `fields`.
class MessageReader {
 public:
  MessageReader(Fields& fields, const chat::MessageShape& shape) : fields_(fields), shape_(shape) {}

  std::optional<Json> read(const Json& messages);        // nothing: see fields.error()
  bool has_arguments() const { return has_arguments_; }  // whether there were tool calls

 private:
  bool read_message(const Json& given, const std::string& path, Json& message);
  bool read_member(const std::string& key, const Json& value, const std::string& path, Json& message);
  bool read_content(const Json& given, const std::string& path, Json& content);
  bool read_part(const Json& part, const std::string& path, std::string& text);
  bool read_calls(const Json& given, const std::string& path, Json& calls);
  bool read_call(const Json& given, const std::string& path, Json& call);
  bool read_function(const Json& given, const std::string& path, Json& function);
  bool read_arguments(const Json& given, const std::string& path, Json& arguments);
  bool want_text(const Json& value, const std::string& path);
  bool wrong(const std::string& path, const std::string& must_be, const Json& found);  // false

  Fields& fields_;
  const chat::MessageShape shape_;
  bool has_arguments_ = false;
};

}  // namespace concertina::server::openai
