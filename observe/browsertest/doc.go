// Package browsertest has only tests: those of the page of package observe in a browser, headless
// Chromium. It is a module of its own because of what it needs for that. Where there is no Chromium
// its tests are skipped, and say so.
package browsertest
