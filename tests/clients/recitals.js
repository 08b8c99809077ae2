// What recital models say in these tests, and the tools that they call.
export const kThought = 'The user wants the weather of two cities.';
export const kWords = 'I look it up.';
export const kFinal = 'Paris has 21 degrees, Rome has 26.';
export const kCalls = [
  { name: 'get_weather', arguments: { city: 'Paris', unit: 'celsius' } },
  { name: 'get_weather', arguments: { city: 'Rome', days: [1, 2, 3], note: 'with "quotes", a \\ and é' } },
];

export const call_text = ({ name, arguments: given }) => `<tool_call>\n${JSON.stringify({ name, arguments: given })}\n</tool_call>`;

// First two calls with a thought and a word before them; then what their results come to.
export const kWeather = [`<think>\n${kThought}\n</think>\n\n${kWords}\n${kCalls.map(call_text).join('\n')}`, kFinal];

export const kWeatherSchema = {
  type: 'object',
  properties: {
    city: { type: 'string' },
    unit: { type: 'string', enum: ['celsius', 'fahrenheit'] },
    days: { type: 'array', items: { type: 'integer' } },
    note: { type: 'string' },
  },
  required: ['city'],
};

// A call whose arguments take thousands of tokens, so that much can happen to its rank meanwhile.
export const kLetter = Array.from({ length: 1200 }, (_, i) => `line ${i} of ${(i * 7919) % 10007}`).join(' ');
export const kSend = [call_text({ name: 'send', arguments: { letter: kLetter } }), 'It is sent.'];
