// The model, as stages/lib/model.py, word_model.py and ngram/ define it.

const UNKNOWN_ROW = 1; // of the vocabulary
const UNKNOWN_EVIDENCE = 0.2; // of an unknown word; that of a known word is 1
const ENDING_PARTS = 10; // the ending of a document is its last tenth
const MAX_LETTERS = 64; // of a longer word only the first letters are read
const [UNKNOWN_LETTER, WORD_BOUNDARY, FIRST_LETTER] = [1, 2, 3];
const POOL_POWERS = { mean: 1, sqrt: 0.5, sum: 0 };
const SMALLEST_SUM = 1e-9; // divisor of the weighted mean of no words
const LONG_WORD = 100; // characters; longer words are stored with a checksum of the whole

// Integers whose bytes are stored by their significance.
function storedIntegers(arrays, name) {
  const { shape: [size], data } = arrays[name];
  const count = data.length / size;
  const result = new Uint32Array(count);
  for (let byte = 0; byte < size; byte++) {
    for (let n = 0; n < count; n++) result[n] |= data[byte * count + n] << (8 * byte);
  }
  return result;
}

// A table of rows with `width` numbers: 32-bit, or integers with a scale for each column. Their lowest bit is
// the sign.
function tableOf(arrays, name) {
  const { shape, data } = arrays[name];
  const scale = arrays[`${name}_scale`]?.data;
  if (!scale) return { width: shape[1], data };
  const whole = storedIntegers(arrays, name);
  const table = new Float64Array(whole.length);
  for (let n = 0; n < table.length; n++) {
    table[n] = ((whole[n] >>> 1) ^ -(whole[n] & 1)) * scale[n % scale.length];
  }
  return { width: scale.length, data: table };
}

// Adds `factor` times a row of a table to `sums`.
function addRow(sums, table, row, factor) {
  const start = row * table.width;
  for (let n = 0; n < table.width; n++) sums[n] += factor * table.data[start + n];
}

// N-grams as a trie: see stages/lib/page/trie.py. `digit` (M + 1) is that of each node, `first` (M + 2) its
// first child, and `row` (M + 1) its n-gram or -1. Node 0 is the root.
function trieFrom(arrays, name) {
  const difference = storedIntegers(arrays, `${name}_digits`);
  const children = storedIntegers(arrays, `${name}_children`);
  const present = arrays[`${name}_present`].data;
  const digit = new Uint32Array(children.length);
  const first = new Uint32Array(children.length + 1);
  const row = new Int32Array(children.length).fill(-1);
  let node = 1;
  let rows = 0;
  for (let parent = 0; parent < children.length; parent++) {
    first[parent] = node;
    let last = 0;
    for (const end = node + children[parent]; node < end; node++) {
      last = digit[node] = last + difference[node - 1];
      if (present[node - 1]) row[node] = rows++;
    }
  }
  first[children.length] = node;
  return { digit, first, row };
}

// The child of a node with a digit, or 0.
function childOf({ digit, first }, node, wanted) {
  let low = first[node];
  let high = first[node + 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (digit[middle] < wanted) low = middle + 1;
    else high = middle;
  }
  return low < first[node + 1] && digit[low] === wanted ? low : 0;
}

// Calls `found(start, end, row)` for every n-gram of a trie in a list of numbers.
function findInTrie(trie, numbers, found) {
  for (let start = 0; start < numbers.length; start++) {
    let node = 0;
    for (let end = start; end < numbers.length; end++) {
      node = childOf(trie, node, numbers[end]);
      if (!node) break;
      if (trie.row[node] >= 0) found(start, end + 1, trie.row[node]);
    }
  }
}

// The same for n-grams that are hashed into `buckets` rows: every n-gram has one. See `Buckets` in keys.py.
function findInBuckets({ buckets, words, max_n }, numbers, found) {
  for (let start = 0; start < numbers.length; start++) {
    let key = 0n;
    for (let end = start; end < Math.min(numbers.length, start + max_n); end++) {
      key = key * BigInt(words) + BigInt(numbers[end]);
      const scrambled = BigInt.asUintN(64, (key ^ (key >> 32n)) * 0x9E3779B97F4A7C15n);
      found(start, end + 1, Number(((scrambled >> 33n) * BigInt(buckets)) >> 31n));
    }
  }
}
