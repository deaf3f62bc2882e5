// Bundles src/ into dist/ under names that carry a hash of their content, and writes down which is which.
import { build } from "esbuild";
import { rmSync, writeFileSync } from "node:fs";
import { basename } from "node:path";

rmSync("dist", { recursive: true, force: true });
const { metafile } = await build({
  entryPoints: ["src/main.js", "src/main.css", "src/mark.svg"],
  outdir: "dist",
  entryNames: "[name]-[hash]",
  bundle: true,
  minify: true,
  sourcemap: false,
  metafile: true,
  format: "iife",
  loader: { ".svg": "copy" },
  target: ["chrome123", "firefox120", "safari17.5"],
  legalComments: "none",
  logLevel: "warning",
});
const names = {};
for (const [path, { entryPoint }] of Object.entries(metafile.outputs)) {
  if (entryPoint) names[basename(entryPoint)] = basename(path);
}
writeFileSync("dist/manifest.json", `${JSON.stringify(names, null, 1)}\n`);
