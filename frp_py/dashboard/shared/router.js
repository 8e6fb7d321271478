/** Pages by the part of the address behind "#": "#/clients/KEY?page=2". */
import { html, store, useEffect, useLayoutEffect, useStore } from "./base.js";

const read = () => {
  const [path, query = ""] = (location.hash.slice(1) || "/").split(/\?(.*)/s);
  return { path: path.startsWith("/") ? path : `/${path}`, query: Object.fromEntries(new URLSearchParams(query)) };
};

/** Where we are: {path, query}. */
export const place = store(read());

/**
 * Builds the address of a page; values are encoded, an object becomes the query: to`/clients/${key}${{page: 2}}`.
 * Empty and undefined members of the query are left out.
 */
export const to = (strings, ...values) =>
  "#" +
  strings.reduce((address, text, at) => {
    const value = values[at - 1];
    return address + (value !== null && typeof value === "object" ? queryText(value) : encodeURIComponent(String(value ?? "").toWellFormed?.() ?? value)) + text;
  });

const queryText = (query) => {
  const kept = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return kept.length ? `?${new URLSearchParams(kept)}` : "";
};

/** Goes to an address made by `to`. */
export function navigate(address, { replace = false } = {}) {
  if (!replace) location.hash = address;
  else {
    history.replaceState(history.state, "", address);
    place.set(read());
  }
}

/** Changes members of the query of this page without a new entry in the history; undefined or "" removes one. */
export function setQuery(changes) {
  const { path, query } = place.value;
  history.replaceState(history.state, "", `#${path}${queryText({ ...query, ...changes })}`);
  place.set(read());
}

// Each entry of the history has a number, so that we know how far a refused step went and where a page was scrolled to.
let entry = history.state?.entry ?? 0;
const scrolled = new Map();
let guard = null;
let returning = false;

history.scrollRestoration = "manual";
history.replaceState({ entry }, "");

async function moved() {
  if (returning) {
    returning = false;
    return;
  }
  const back = history.state?.entry !== undefined;
  const next = history.state?.entry ?? entry + 1;
  if (guard) {
    const address = location.hash;
    const ask = guard;
    returning = true;
    history.go(entry - next);
    if (!(await ask())) return;
    guard = null;
    if (back) history.go(next - entry);
    else location.hash = address;
    return;
  }
  if (!back) history.replaceState({ entry: next }, "");
  scrolled.set(entry, scrollY);
  entry = next;
  const before = place.value.path;
  place.set(read());
  if (place.value.path === before && back) return;
  const top = back ? (scrolled.get(entry) ?? 0) : 0;
  requestAnimationFrame(() =>
    requestAnimationFrame(() => {
      scrollTo(0, top);
      document.querySelector("main h1")?.focus({ preventScroll: true });
    }),
  );
}

addEventListener("hashchange", moved);
addEventListener("beforeunload", (event) => guard && event.preventDefault());

/** While `active`, leaving the page asks first: `ask` returns a promise of whether it may be left. */
export function useGuard(active, ask) {
  useEffect(() => {
    if (!active) return undefined;
    guard = ask;
    return () => {
      if (guard === ask) guard = null;
    };
  }, [active, ask]);
}

const decoded = (text) => {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
};

/** The values of `pattern` ("/clients/:key", a last "?" makes one optional) in `path`, or null. */
export function match(pattern, path) {
  const wanted = pattern.split("/").filter(Boolean);
  const given = path.split("/").filter(Boolean);
  const least = wanted.filter((part) => !part.endsWith("?")).length;
  if (given.length > wanted.length || given.length < least) return null;
  const values = {};
  for (const [at, part] of wanted.entries()) {
    if (part.startsWith(":")) values[part.replace(/^:|\?$/g, "")] = given[at] === undefined ? undefined : decoded(given[at]);
    else if (part !== given[at]) return null;
  }
  return values;
}

/** Finds the route of a path: {route, values} or null. Routes are {path, page, nav}. */
export function find(routes, path) {
  for (const route of routes) {
    const values = match(route.path, path);
    if (values) return { route, values };
  }
  return null;
}

/** Shows the page of the address; it gets the values of its path as properties, and `query`. `missing` is shown for unknown addresses. */
export function Router({ routes, missing: Missing }) {
  const { path, query } = useStore(place);
  const found = find(routes, path);
  if (!found) return html`<${Missing} />`;
  const { page: Page } = found.route;
  // A page is made anew for other values of its path, so that no state of one object shows at another's.
  return html`<${Page} key=${found.route.path + JSON.stringify(found.values)} ...${found.values} query=${query} />`;
}

/** The window's title: "TEXT · APP", or just the app's name. */
export function useTitle(text) {
  useLayoutEffect(() => {
    const app = document.documentElement.dataset.title;
    document.title = text ? `${text} · ${app}` : app;
  }, [text]);
}
