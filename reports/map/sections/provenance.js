embedkit.sections.provenance = ({ about, record }, section, { make }) => {
  section.append(make("dl", {}, ...about.flatMap(([name, value]) => [make("dt", { text: name }), make("dd", { text: value })])),
    make("details", {}, make("summary", { text: "the feature file's own record" }), make("pre", { text: JSON.stringify(record, null, 2) })));
};
