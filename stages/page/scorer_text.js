// From a text to tokens, as stages/lib/text.py, stages/tokens.py and the tokenizers library do it.
//
// The classes of characters are those of the browser's edition of Unicode. polars and tokenizers have Unicode 16:
// of all code points, the 4,801 that a browser with Unicode 17 splits otherwise are those which that edition added.

// What Python's \s matches in a text; \s of JavaScript is a different set.
const PYTHON_SPACE =
  "[\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]";
const HTML_BREAK = new RegExp(`<br${PYTHON_SPACE}*/?>`, "gi");
const LONE_SURROGATE = /\p{Surrogate}/gu;
const BREAK_HINTS = /[\u00ad\u2060]/g; // soft hyphens and word joiners
const WHITE_SPACE = /\p{White_Space}/gu;
const INVISIBLE = /\p{Other}/gu;

// The pattern WORD of stages/tokens.py. It is made when it is needed: older browsers have no flag v.
const LETTER_CLASS = "[[\\p{L}\\p{M}\\p{N}]--\\p{Script=Han}]";
const PICTOGRAPH =
  "\\p{Extended_Pictographic}[\\u{fe0e}\\u{fe0f}\\u{1f3fb}-\\u{1f3ff}\\u{e0020}-\\u{e007f}]*";
const WORD_PATTERN = [
  "\\p{Script=Han}",
  `${LETTER_CLASS}+(?:['\\u{200c}\\u{200d}]${LETTER_CLASS}+)*`,
  `${PICTOGRAPH}(?:\\u{200d}${PICTOGRAPH})*`,
  "[#*]\\u{fe0f}?\\u{20e3}",
  "\\p{RI}\\p{RI}",
  "[^\\p{White_Space}\\p{C}]",
].join("|");

// The text without HTML line breaks and without characters that UTF-8 cannot encode.
function cleanText(text) {
  return text.replace(HTML_BREAK, " ").replace(LONE_SURROGATE, "?");
}

// The text in composed form, with one kind of apostrophe.
function normalisedText(text, lowercase) {
  const plain = text.replaceAll("’", "'").replace(BREAK_HINTS, "");
  return (lowercase ? plain.toLowerCase() : plain).normalize("NFC");
}

// The text with single spaces inside and none at its ends, and without control characters.
function withoutInvisible(text) {
  return text.replace(WHITE_SPACE, " ").replace(INVISIBLE, "").replace(/ +/g, " ").replace(/^ | $/g, "");
}

// The function that splits a text as the tokeniser of the model does.
function tokeniserOf({ unit, lowercase, special }, arrays) {
  if (unit === "subwords") return subwordTokeniser(lowercase, special, arrays);
  const normalised = (text) => normalisedText(cleanText(text), lowercase);
  if (unit === "characters") return (text) => Array.from(withoutInvisible(normalised(text)));
  const pattern = new RegExp(WORD_PATTERN, "gv");
  return (text) => normalised(text).match(pattern) ?? [];
}

// Byte-pair encoding. The special tokens are recognised in the text before anything else.
function subwordTokeniser(lowercase, special, arrays) {
  const encode = bytePairEncoding(strings(arrays, "pieces"), storedIntegers(arrays, "merges"), special[1]);
  const marks = new RegExp(`(${special.join("|")})`);
  return (text) => {
    const tokens = [];
    for (const segment of cleanText(text).split(marks)) {
      if (special.includes(segment)) {
        tokens.push(segment);
        continue;
      }
      const plain = withoutInvisible(normalisedSubwords(segment, lowercase)).replaceAll(" ", "▁");
      const words = plain && !plain.startsWith("▁") ? `▁${plain}` : plain;
      for (const part of words.match(SUBWORD_PARTS) ?? []) {
        for (const piece of encode(part)) tokens.push(piece);
      }
    }
    return tokens;
  };
}

// Punctuation marks, and words with the mark of their beginning.
const SUBWORD_PARTS = /[\p{P}$+<=>^`|~]|▁[^▁\p{P}$+<=>^`|~]*|[^▁\p{P}$+<=>^`|~]+/gu;

// The tokenizers library makes each character lower case by itself, so that every Σ becomes σ.
function normalisedSubwords(text, lowercase) {
  const plain = text.replaceAll("’", "'");
  const lower = lowercase ? Array.from(plain, (character) => character.toLowerCase()).join("") : plain;
  return lower.normalize("NFC");
}

// The function from a word to its pieces: pairs are merged in the order in which they were learned. `merges`
// has the numbers of two pieces after each other. A character without a piece becomes `unknown`.
function bytePairEncoding(pieces, merges, unknown) {
  const number = new Map(pieces.map((piece, index) => [piece, index]));
  const pairs = new Map(); // by the numbers of two pieces: the rank of their merge, and its result
  for (let rank = 0; 2 * rank < merges.length; rank++) {
    const [left, right] = [merges[2 * rank], merges[2 * rank + 1]];
    const whole = number.get(pieces[left] + pieces[right]);
    pairs.set(left * pieces.length + right, { rank, whole });
  }
  const pairOf = (left, right) => pairs.get(left * pieces.length + right);
  const known = new Map();
  return (word) => {
    let result = known.get(word);
    if (!result) {
      const symbols = Array.from(word, (character) => number.get(character) ?? number.get(unknown));
      result = mergedSymbols(symbols, pairOf).map((symbol) => pieces[symbol]);
      if (known.size < 50000) known.set(word, result);
    }
    return result;
  };
}

// The symbols after all merges. Of all possible merges the first is the one with the lowest rank, and of
// equal ranks the leftmost.
function mergedSymbols(symbols, pairOf) {
  const next = symbols.map((_, position) => position + 1);
  const previous = symbols.map((_, position) => position - 1);
  const queue = [];
  const offer = (left, right) => {
    const pair = left >= 0 && right < symbols.length ? pairOf(symbols[left], symbols[right]) : undefined;
    if (pair) pushMerge(queue, { ...pair, left });
  };
  for (let position = 0; position + 1 < symbols.length; position++) offer(position, position + 1);
  while (queue.length) {
    const { left, whole } = popMerge(queue);
    const right = next[left];
    if (symbols[left] < 0 || right >= symbols.length) continue;
    if (pairOf(symbols[left], symbols[right])?.whole !== whole) continue; // one of the two was merged before
    symbols[left] = whole;
    symbols[right] = -1;
    next[left] = next[right];
    if (next[left] < symbols.length) previous[next[left]] = left;
    offer(previous[left], left);
    offer(left, next[left]);
  }
  return symbols.filter((symbol) => symbol >= 0);
}

// Whether a merge comes before another.
function isBefore(one, other) {
  return one.rank < other.rank || (one.rank === other.rank && one.left < other.left);
}

// Adds a merge to a binary heap.
function pushMerge(heap, merge) {
  let position = heap.push(merge) - 1;
  while (position > 0) {
    const parent = (position - 1) >> 1;
    if (!isBefore(merge, heap[parent])) break;
    heap[position] = heap[parent];
    position = parent;
  }
  heap[position] = merge;
}

// Removes the first merge from a binary heap.
function popMerge(heap) {
  const first = heap[0];
  const last = heap.pop();
  if (!heap.length) return first;
  let position = 0;
  for (;;) {
    let child = 2 * position + 1;
    if (child >= heap.length) break;
    if (child + 1 < heap.length && isBefore(heap[child + 1], heap[child])) child++;
    if (!isBefore(heap[child], last)) break;
    heap[position] = heap[child];
    position = child;
  }
  heap[position] = last;
  return first;
}
