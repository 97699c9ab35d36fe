// What the reader has chosen, and who is told when it changes.
embedkit.state = (() => {
  const listeners = new Map();
  const state = {
    color: embedkit.data.color,
    hidden: new Set(), // names of the active column's categories, as the legend shows them
    brush: null, // [low, high] of the active column's numbers
    pins: [], // rows, the latest first
    set: new Set(), // the selection: rows
    how: "", // how the selection came about
    labels: new Map(), // row -> { label, how }
    layers: { pictures: true, names: true, shading: true },
    on(topics, listen) {
      for (const topic of topics.split(" ")) listeners.set(topic, [...(listeners.get(topic) || []), listen]);
    },
    tell(...topics) {
      const told = new Set();
      for (const topic of topics) for (const listen of listeners.get(topic) || []) if (!told.has(listen)) { told.add(listen); listen(); }
    },
  };

  const MOST_PINS = 12;
  state.pin = (i) => {
    state.pins = [i, ...state.pins.filter((row) => row !== i)].slice(0, MOST_PINS);
    state.tell("pins");
  };
  state.unpin = (i) => { state.pins = state.pins.filter((row) => row !== i); state.tell("pins"); };
  state.select = (rows, how) => {
    state.set = new Set(rows);
    state.how = state.set.size ? how : "";
    state.tell("set");
  };
  state.toggle = (i) => {
    if (state.set.has(i)) state.set.delete(i);
    else state.set.add(i);
    if (!state.set.size) state.how = "";
    else if (!state.how) state.how = "one by one";
    else if (!/one by one$/.test(state.how)) state.how += ", then one by one";
    state.tell("set");
  };
  return state;
})();
