// Which rows are shown: what the legend and the histogram leave of the active column.
embedkit.sieve = (() => {
  const { columns, state } = embedkit;
  const shown = new Uint8Array(columns.n).fill(1);
  const api = { shown, times: 0 };
  api.active = () => columns.byKey.get(state.color) || columns.list[0];
  api.again = () => {
    const column = api.active(), { hidden, brush } = state;
    for (let i = 0; i < columns.n; i++) {
      const value = column.values[i];
      if (column.kind === "category") shown[i] = hidden.has(value) ? 0 : 1;
      else shown[i] = !brush || (value >= brush[0] && value <= brush[1]) ? 1 : 0;
    }
    api.times++;
  };
  api.rows = () => { const rows = []; for (let i = 0; i < columns.n; i++) if (shown[i]) rows.push(i); return rows; };
  return api;
})();
