#!/usr/bin/env bash
# Makes regl-scatterplot.js and licences.txt anew, from the versions named here; needs node and npm.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --no-audit --no-fund --save-exact --silent \
    regl-scatterplot@1.16.0 regl@2.1.1 pub-sub-es@3.0.0 regl-line@1.1.1 dom-2d-camera@2.2.6 camera-2d-simple@3.0.0 \
    gl-matrix@3.4.4 earcut@3.2.4 @flekschas/utils@0.33.0 esbuild@0.28.2
cat > entry.js <<'JS'
import createScatterplot, { createRenderer } from "regl-scatterplot";
import createRegl from "regl";
export { createScatterplot, createRenderer, createRegl };
JS
npx esbuild entry.js --bundle --minify --format=iife --global-name=reglScatterplot --target=es2020 \
    --legal-comments=none --log-level=warning --outfile="$here/regl-scatterplot.js"
# Addresses in comments of shaders and in messages: a page names no place on the network.
sed -i -E 's#https?://[A-Za-z0-9./_-]+##g' "$here/regl-scatterplot.js"
: > "$here/licences.txt"
for name in regl-scatterplot regl pub-sub-es regl-line dom-2d-camera camera-2d-simple gl-matrix earcut @flekschas/utils; do
    folder=node_modules/$name
    node -e 'const p = require(process.argv[1]); console.log(`${p.name} ${p.version} (${p.license})\n`)' "$work/$folder/package.json"
    find "$folder" -maxdepth 1 -iname 'licen[sc]e*' -exec cat {} + | sed 's/[[:space:]]*$//'
    printf '\n----\n\n'
done >> "$here/licences.txt"
cd "$here"
sha256sum regl-scatterplot.js licences.txt
