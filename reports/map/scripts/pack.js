// Arrays of the page's data: base64 of little-endian numbers.
embedkit.unpack = (() => {
  const bytes = (text) => {
    const raw = atob(text), found = new Uint8Array(raw.length);
    for (let i = 0; i < raw.length; i++) found[i] = raw.charCodeAt(i);
    return found;
  };
  const kinds = { f4: Float32Array, i4: Int32Array, i1: Int8Array, u2: Uint16Array, u1: Uint8Array };
  const unpack = ({ type, data }) => {
    const found = bytes(data);
    if (type !== "u3") return new kinds[type](found.buffer);
    // Row numbers above 65,535 take three bytes, which no typed array has.
    const wide = new Uint32Array(found.length / 3);
    for (let i = 0, at = 0; i < wide.length; i++, at += 3) wide[i] = found[at] | (found[at + 1] << 8) | (found[at + 2] << 16);
    return wide;
  };
  return Object.assign(unpack, { bytes });
})();
