import { defineConfig } from "vitest/config";

// The gateway serves the result from its own package, under `Content-Security-Policy: default-src 'self'`:
// nothing may be inlined, neither scripts, nor styles, nor images as data URLs.
export default defineConfig({
  base: "./",
  build: {
    outDir: "../src/penstock/edge/pages/dashboard",
    emptyOutDir: true,
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    target: "es2022",
  },
  server: {
    host: "127.0.0.1",
    proxy: Object.fromEntries(["/v1", "/readyz", "/docs", "/metrics", "/openapi.json"].map((path) => [path, "http://127.0.0.1:8080"])),
  },
  test: {
    environment: "happy-dom",
    environmentOptions: {
      happyDOM: { settings: { disableCSSFileLoading: true, disableJavaScriptFileLoading: true, handleDisabledFileLoadingAsSuccess: true } },
    },
    include: ["tests/**/*.test.ts"],
  },
});
