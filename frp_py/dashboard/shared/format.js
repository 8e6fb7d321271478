/** Numbers, sizes, times and hostile names as text in the language shown. */
import { useEffect, useState } from "./base.js";
import { locale, t } from "./i18n.js";

const UNITS = ["B", "KB", "MB", "GB", "TB", "PB", "EB"];
const formats = new Map();

// Making an Intl object costs some hundred microseconds; a table needs one per cell.
const intl = (Kind, options) => {
  const key = Kind.name + locale() + JSON.stringify(options);
  if (!formats.has(key)) formats.set(key, new Kind(locale(), options));
  return formats.get(key);
};

/** Whole numbers with their separators. */
export const number = (n) => intl(Intl.NumberFormat, { maximumFractionDigits: 2 }).format(n);

/** Bytes in units of 1024, at most two decimals: [number, unit]. */
export function bytesParts(n) {
  let unit = 0;
  let value = Math.max(0, Number(n) || 0);
  // 1023.995 would be shown as "1024 KB".
  while (value >= 1023.995 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return [String(Number(value.toFixed(unit ? 2 : 0))), UNITS[unit]];
}

/** Bytes in units of 1024, at most two decimals: "1.5 KB". */
export const bytes = (n) => bytesParts(n).join(" ");

/** Bytes per second: "1.5 KB/s". */
export const rate = (n) => `${bytes(n)}/s`;

let offset = 0;

/** Tells what the server's clock shows, Unix seconds: ages are told by it, not by the browser's. */
export const setClock = (serverNow) => {
  offset = serverNow - Date.now() / 1000;
};

/** The server's time, Unix seconds. */
export const now = () => Date.now() / 1000 + offset;

/** The server's time; the component is drawn anew every `seconds`. */
export function useNow(seconds) {
  const [value, setValue] = useState(now());
  useEffect(() => {
    const timer = setInterval(() => document.hidden || setValue(now()), seconds * 1000);
    return () => clearInterval(timer);
  }, [seconds]);
  return value;
}

const STEPS = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];

/** A span in its two largest units: "3d 4h". */
export function duration(seconds) {
  let left = Math.max(0, Math.floor(seconds));
  const parts = [];
  for (const [unit, size] of STEPS) {
    const count = Math.floor(left / size);
    if (!count && !parts.length && size > 1) continue;
    parts.push(t(`unit.${unit}`, { n: count }));
    left -= count * size;
    if (parts.length === 2) break;
  }
  return parts.join(" ");
}

/** How long ago a moment (Unix seconds) was: "5 minutes ago". */
export function ago(unix, from = now()) {
  const seconds = Math.max(0, from - unix);
  if (seconds < 5) return t("format.justNow");
  const [unit, size] = STEPS.find(([, length]) => seconds >= length) ?? STEPS[3];
  return intl(Intl.RelativeTimeFormat, { numeric: "always" }).format(-Math.floor(seconds / size), unit);
}

/** A moment (Unix seconds) as date and time. */
export const dateTime = (unix) => intl(Intl.DateTimeFormat, { dateStyle: "medium", timeStyle: "medium" }).format(unix * 1000);

/** A moment as time of day. */
export const time = (unix, withSeconds = true) =>
  intl(Intl.DateTimeFormat, { hour: "2-digit", minute: "2-digit", hourCycle: "h23", ...(withSeconds && { second: "2-digit" }) }).format(unix * 1000);

/** A moment as day and month. */
export const day = (unix) => intl(Intl.DateTimeFormat, { day: "numeric", month: "short" }).format(unix * 1000);

/** A moment as weekday and day of the month. */
export const weekday = (unix) => intl(Intl.DateTimeFormat, { weekday: "short", day: "numeric" }).format(unix * 1000);

/** A moment as a whole date. */
export const date = (unix) => intl(Intl.DateTimeFormat, { weekday: "short", day: "numeric", month: "short", year: "numeric" }).format(unix * 1000);

// Controls, and the marks that turn the direction of the text around them, could make one name look like another.
const UNPRINTABLE = /[\u0000-\u001f\u007f-\u009f\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff]/g;

/** A name that a client chose, with what could hide in it made visible. */
export const printable = (name) =>
  String(name ?? "").replace(UNPRINTABLE, (mark) => `⟨${mark.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`);
