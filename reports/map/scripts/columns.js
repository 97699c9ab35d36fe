// What the map can be coloured by: values, words, and the colour of each row.
embedkit.columns = (() => {
  const { data, dark, unpack } = embedkit;
  const n = data.ids.length;
  const list = data.columns.map((column) => ({ ...column, values: unpack(column.values) }));
  const byKey = new Map(list.map((column) => [column.key, column]));
  const short = (value) => (Number.isInteger(value) && Math.abs(value) < 1e6 ? String(value) : String(Number(value.toPrecision(4))));
  const text = (column, i) => {
    const value = column.values[i];
    if (column.kind === "category") return value < 0 ? column.missing : column.names[value];
    return Number.isNaN(value) ? "missing" : short(value);
  };

  const grey = () => (dark() ? "#4a515c" : "#c6cbd3");
  const mixed = (hex, other, share) => {
    const part = (text, at) => parseInt(text.slice(at, at + 2), 16);
    return `#${[1, 3, 5].map((at) => Math.round(part(hex, at) * (1 - share) + part(other, at) * share).toString(16).padStart(2, "0")).join("")}`;
  };
  // Ten hues, then the same nearer to the ink, then paler ones: a hue belongs to a name in every column.
  const hue = (number) => {
    const base = data.palette[number % data.palette.length];
    const round = Math.floor(number / data.palette.length) % 3;
    return round ? mixed(base, (round === 1) === dark() ? "#ffffff" : "#000000", 0.42) : base;
  };
  const look = (column, code) => (code < 0 ? grey() : hue(column.hues[code]));

  const BINS = 64;
  // What goes round, as an angle, has colours that go round.
  const rampAt = (column, t) => {
    const ramp = column.period ? data.cycle : data.ramp, at = ramp.findIndex(([stop]) => stop >= t);
    if (at <= 0) return ramp[0][1];
    const [[low, from], [high, to]] = [ramp[at - 1], ramp[at]];
    return mixed(from, to, (t - low) / (high - low));
  };
  // From the 1st to the 99th percentile, so that one wild value doesn't flatten the rest.
  const ranges = new Map();
  const range = (column) => {
    if (ranges.has(column.key)) return ranges.get(column.key);
    const sorted = Float32Array.from(column.values.filter((v) => !Number.isNaN(v))).sort();
    let found = null;
    if (sorted.length) {
      const at = (q) => sorted[Math.round(q * (sorted.length - 1))];
      const first = sorted[0], last = sorted[sorted.length - 1];
      const [low, high] = column.period ? [0, column.period] : at(0.99) > at(0.01) ? [at(0.01), at(0.99)] : [first, last];
      found = { low, high, first, last, below: first < low, above: last > high, missing: n - sorted.length };
    }
    ranges.set(column.key, found);
    return found;
  };
  const shareOf = (column, value) => {
    const { low, high } = range(column);
    return high > low ? Math.min(1, Math.max(0, (value - low) / (high - low))) : 0.5;
  };

  // Number of the colour of each row, the colours, and the rows from the lowest to the topmost.
  const paint = (column) => {
    const bins = new Float32Array(n);
    if (column.kind === "number") {
      const known = range(column);
      for (let i = 0; i < n; i++) {
        const value = column.values[i];
        bins[i] = !known || Number.isNaN(value) ? 0 : 1 + Math.min(BINS - 1, Math.floor(shareOf(column, value) * BINS));
      }
      return { bins, colors: [grey(), ...Array.from({ length: BINS }, (_, k) => rampAt(column, (k + 0.5) / BINS))], order: null };
    }
    const counts = new Uint32Array(column.names.length + 1);
    for (let i = 0; i < n; i++) { bins[i] = column.values[i] + 1; counts[bins[i]]++; }
    // The largest lie lowest, so that the rare ones are seen; what has no category lies below all.
    const rank = Array.from(counts, (count, bin) => [bin, bin ? count : Infinity]).sort((a, b) => b[1] - a[1]);
    const starts = new Uint32Array(counts.length);
    let total = 0;
    for (const [bin] of rank) { starts[bin] = total; total += counts[bin]; }
    const order = new Array(n);
    for (let i = 0; i < n; i++) order[starts[bins[i]]++] = i;
    return { bins, colors: [grey(), ...column.names.map((_, code) => look(column, code))], order };
  };
  const colorOf = (column, i) => {
    const value = column.values[i];
    if (column.kind === "category") return look(column, value);
    return Number.isNaN(value) ? grey() : rampAt(column, shareOf(column, value));
  };
  const main = (active) => {
    const first = list.filter((c) => c.key === "label" || c.key.startsWith("cluster:")).slice(0, 4);
    return !active || first.includes(active) ? first : [...first, active];
  };
  const shares = (rows, column) => {
    const counts = new Map();
    let total = 0;
    for (const i of rows) { const name = text(column, i); counts.set(name, (counts.get(name) || 0) + 1); total++; }
    return [...counts].map(([name, count]) => [name, count / total]).sort((a, b) => b[1] - a[1]);
  };
  return { n, list, byKey, text, short, look, paint, range, rampAt, colorOf, main, shares };
})();
