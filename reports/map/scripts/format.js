// Numbers in words.
embedkit.format = {
  whole: (value) => value.toLocaleString("en"),
  percent: (share) => `${Math.round(share * 100)}\u00a0%`,
};
