/** A text area for configuration files, with line numbers, colours and a mark on one line. */
import { classes, html, useMemo, useRef } from "./shared/base.js";

// Beyond this the colours would cost more than a frame for each key that is pressed.
const MOST_COLOURED = 60_000;

const TOKEN = new RegExp(
  [
    String.raw`(?<template>\{\{.*?\}\})`,
    String.raw`(?<string>"""[\s\S]*?"""|'''[\s\S]*?'''|"(?:\\.|[^"\\\n])*"(?!\s*:)|'[^'\n]*')`,
    String.raw`(?<comment>(?<![^\s])#.*|^\s*;.*)`,
    String.raw`(?<table>^[ \t]*\[\[?[^\]\n]*\]\]?)`,
    String.raw`(?<key>(?:[\w.-]+|"(?:\\.|[^"\\\n])*")(?=[ \t]*(?:=|:(?:\s|$))))`,
    String.raw`(?<literal>\b(?:true|false|null)\b|(?<![\w.])[+-]?\d[\d._]*\b)`,
  ].join("|"),
  "gm",
);

/** The pieces of a text: [class or "", piece]. */
export function tokens(text) {
  const pieces = [];
  let end = 0;
  for (const found of text.matchAll(TOKEN)) {
    if (found.index > end) pieces.push(["", text.slice(end, found.index)]);
    const kind = Object.keys(found.groups).find((name) => found.groups[name] !== undefined);
    pieces.push([kind, found[0]]);
    end = found.index + found[0].length;
  }
  if (end < text.length) pieces.push(["", text.slice(end)]);
  return pieces;
}

/** How many lines a text has. */
export const lineCount = (text) => text.split("\n").length;

/** Where line `line`, column `column` (both from 1) begins in a text. */
export function offsetOf(text, line, column = 1) {
  let start = 0;
  for (let n = 1; n < line; n += 1) {
    const next = text.indexOf("\n", start);
    if (next < 0) return text.length;
    start = next + 1;
  }
  const end = text.indexOf("\n", start);
  return Math.min(start + column - 1, end < 0 ? text.length : end);
}

/**
 * The editor. `mark` is a line to point at, or null; `area` a ref that gets the text area; `describedBy` the id of what is wrong.
 */
export function Editor({ text, onInput, label, mark = null, area, describedBy, readOnly = false }) {
  const own = useRef(null);
  const field = area ?? own;
  const lines = lineCount(text);
  const numbers = useMemo(() => Array.from({ length: lines }, (_, n) => n + 1).join("\n"), [lines]);
  const coloured = useMemo(
    () => (text.length > MOST_COLOURED ? text : tokens(text).map(([kind, piece]) => (kind ? html`<span class=${`t-${kind}`}>${piece}</span>` : piece))),
    [text],
  );
  return html`<div class=${classes("editor", mark && "has-mark")}>
    <pre class="editor-numbers" aria-hidden="true">${numbers}</pre>
    <div class="editor-body">
      ${mark && html`<div class="editor-mark" style=${{ top: `calc(${mark - 1} * var(--editor-line) + var(--editor-pad))` }}></div>`}
      <pre class="editor-colours" aria-hidden="true">${coloured}${"\n"}</pre>
      <textarea
        ref=${field}
        class="editor-text"
        aria-label=${label}
        aria-invalid=${mark ? "true" : undefined}
        aria-describedby=${describedBy}
        spellcheck=${false}
        autocapitalize="off"
        autocomplete="off"
        wrap="off"
        readonly=${readOnly}
        value=${text}
        onInput=${(event) => onInput(event.currentTarget.value)}
      ></textarea>
    </div>
  </div>`;
}

/** Puts the caret on a place of the editor and scrolls it into view. */
export function showPlace(field, line, column) {
  if (!field) return;
  const at = offsetOf(field.value, line, column ?? 1);
  field.focus({ preventScroll: true });
  field.setSelectionRange(at, at);
  const height = parseFloat(getComputedStyle(field).lineHeight);
  const box = field.closest(".editor");
  box.scrollTo({ top: Math.max(0, (line - 1) * height - box.clientHeight / 3), left: 0 });
}
