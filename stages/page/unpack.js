// Reads the arrays that `stages/lib/page/pack.py` wrote into the page: a safetensors file, compressed, in base64.

const ARRAY_TYPES = {
  I8: Int8Array, U8: Uint8Array, I16: Int16Array, U16: Uint16Array, I32: Int32Array, U32: Uint32Array,
  F32: Float32Array, F64: Float64Array, I64: BigInt64Array, U64: BigUint64Array,
};

// The bytes that base64 text stands for. Throws if it is not base64.
function bytesOf(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text); // browsers since 2025; several times as fast
  const characters = atob(text);
  const bytes = new Uint8Array(characters.length);
  for (let k = 0; k < bytes.length; k += 1) bytes[k] = characters.charCodeAt(k);
  return bytes;
}

// The arrays by name: {name: {shape, data}}. Rejects if the browser cannot decompress.
async function unpack(element) {
  const bytes = bytesOf(element.textContent.trim());
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const buffer = await new Response(stream).arrayBuffer();
  const start = 8 + Number(new DataView(buffer).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, start - 8)));
  const arrays = {};
  for (const [name, { dtype, shape, data_offsets: [first, last] }] of Object.entries(header)) {
    if (name !== "__metadata__") {
      // A slice, because a typed array must begin at a multiple of its element's length.
      arrays[name] = { shape, data: new ARRAY_TYPES[dtype](buffer.slice(start + first, start + last)) };
    }
  }
  return arrays;
}

// The strings that `pack_strings` wrote.
function strings(arrays, name) {
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  const bytes = arrays[name].data;
  let start = 0;
  return Array.from(arrays[`${name}_ends`].data, (end) => {
    const text = decoder.decode(bytes.subarray(start, end));
    start = end;
    return text;
  });
}
