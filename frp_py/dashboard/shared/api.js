/** Requests, polling and events; knows whether the server can be reached and waits for it to come back. */
import { store, useEffect, useReducer, useRef, useState } from "./base.js";
import { setClock } from "./format.js";

// The page lies at PREFIX/static/, so a proxy in front may put the whole under any prefix.
const ROOT = new URL("../", document.baseURI);
const TIMEOUT = 20_000;
const MOST_CACHED = 60;

/** What the server, or the way to it, answered instead of success. `status` is 0 when there was no answer. */
export class ApiError extends Error {
  constructor(status, message, { lost = false } = {}) {
    super(message);
    this.status = status;
    this.lost = lost;
  }
}

/** Escapes one part of a path: api/v2/clients/${part(key)}. */
export const part = (text) => encodeURIComponent(String(text).toWellFormed?.() ?? text);

/** The address of `path` ("api/x/overview"); undefined and null members of the query are left out, empty ones are not. */
export function address(path, query = {}) {
  const url = new URL(path, ROOT);
  for (const [name, value] of Object.entries(query)) if (value !== undefined && value !== null) url.searchParams.set(name, value);
  return url.href;
}

/** Whether the server answers: {state: "online" | "lost" | "denied", since, retryAt} (milliseconds of the browser's clock). */
export const connection = store({ state: "online", since: Date.now(), retryAt: 0 });

/** Whether the tab can be seen; hidden ones ask nothing. */
export const visible = store(!document.hidden);
document.addEventListener("visibilitychange", () => visible.set(!document.hidden));

/** GET api/x/session, null until it is known. */
export const session = store(null);

/**
 * One request. An object as body is sent as JSON, a string as plain text.
 * @returns the decoded answer: version 2 envelopes are taken off, text is text, nothing is null
 * @throws {ApiError}
 */
export async function request(method, path, { query, body, signal, timeout = TIMEOUT } = {}) {
  const abort = new AbortController();
  const timer = setTimeout(() => abort.abort(), timeout);
  const cancel = () => abort.abort();
  signal?.addEventListener("abort", cancel);
  try {
    const json = body !== undefined && typeof body !== "string";
    const response = await fetch(address(path, query), {
      method,
      body: json ? JSON.stringify(body) : body,
      headers: body === undefined ? {} : { "Content-Type": json ? "application/json" : "text/plain; charset=utf-8" },
      signal: abort.signal,
      cache: "no-store",
    });
    return await answer(response);
  } catch (error) {
    if (signal?.aborted) throw error;
    const failure = error instanceof ApiError ? error : new ApiError(0, "no answer", { lost: true });
    if (failure.lost) lost();
    throw failure;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", cancel);
  }
}

async function answer(response) {
  const isJson = response.headers.get("Content-Type")?.startsWith("application/json");
  const text = await response.text();
  let data = text || null;
  if (isJson && text) {
    try {
      data = JSON.parse(text);
    } catch {
      throw new ApiError(response.status, "the answer is not JSON");
    }
  }
  if (response.ok) {
    if (isJson && data && typeof data === "object" && "code" in data && "msg" in data && "data" in data) return data.data;
    return data;
  }
  if (response.status === 401) denied();
  // A proxy in front answers like this when the program behind it is gone.
  const gone = !isJson && [502, 503, 504].includes(response.status);
  const message = (isJson && (data?.msg ?? data?.Msg)) || (!isJson && text.slice(0, 500)) || `${response.status} ${response.statusText}`;
  throw new ApiError(response.status, message, { lost: gone });
}

/** GET, as `request`. */
export const get = (path, options) => request("GET", path, options);
/** POST, as `request`. */
export const post = (path, options) => request("POST", path, options);
/** PUT, as `request`. */
export const put = (path, options) => request("PUT", path, options);
/** DELETE, as `request`. */
export const del = (path, options) => request("DELETE", path, options);

let probes = 0;
let probeTimer;

function lost() {
  if (connection.value.state === "lost") return;
  probes = 0;
  connection.set({ state: "lost", since: Date.now(), retryAt: 0 });
  probeLater();
}

const denied = () => connection.set({ state: "denied", since: Date.now(), retryAt: 0 });

function probeLater() {
  clearTimeout(probeTimer);
  const wait = Math.min(15_000, 1000 * 2 ** probes);
  probes += 1;
  connection.set({ ...connection.value, retryAt: Date.now() + wait });
  probeTimer = setTimeout(probe, wait);
}

/** Asks the server whether it is there again, now. */
export async function probe() {
  clearTimeout(probeTimer);
  if (!visible.value) return;
  const { state } = connection.value;
  try {
    await loadSession();
  } catch {
    // The first failure has begun the waiting itself.
    if (state === "lost" && connection.value.state === "lost") probeLater();
  }
}

visible.watch((seen) => seen && connection.value.state === "lost" && probe());

/** Asks for the session; success means that the server is reached. */
export async function loadSession() {
  const data = await get("api/x/session", { timeout: 8000 });
  if (data?.now) setClock(data.now);
  session.set(data);
  if (connection.value.state !== "online") connection.set({ state: "online", since: Date.now(), retryAt: 0 });
  return data;
}

const cache = new Map();

function keep(key, data) {
  cache.delete(key);
  cache.set(key, data);
  if (cache.size > MOST_CACHED) cache.delete(cache.keys().next().value);
}

/**
 * What a GET of `path` answers, asked anew every `every` milliseconds while the tab is seen and the server is there.
 * A page that was seen before shows its last answer at once. With `keep`, the answer for other parameters stays until the new one is there.
 * @param {string | null} path null asks nothing
 * @returns {{data: any, error: ApiError | null, loading: boolean, stale: boolean, reload: () => Promise<void>}}
 *   `error` is never set for a server that is gone: `connection` tells that. `stale`: data is of other parameters.
 */
export function useQuery(path, { query, every = 0, keep: keepOld = false } = {}) {
  const key = path === null ? null : address(path, query);
  const [, redraw] = useReducer((n) => n + 1, 0);
  const held = useRef({ key: undefined, data: undefined, error: null, loading: true, stale: false, reload: async () => {} }).current;
  if (held.key !== key) {
    const cached = cache.get(key);
    held.stale = cached === undefined && keepOld && held.data !== undefined && key !== null;
    if (!held.stale && key !== null) held.data = cached;
    Object.assign(held, { key, error: null, loading: key !== null });
  }
  useEffect(() => {
    if (key === null) return undefined;
    let timer;
    let running;
    let failures = 0;
    const load = async () => {
      clearTimeout(timer);
      running?.abort();
      const mine = new AbortController();
      running = mine;
      try {
        const data = await request("GET", key, { signal: mine.signal });
        if (mine.signal.aborted) return;
        keep(key, data);
        failures = 0;
        const same = !held.loading && !held.error && JSON.stringify(data) === JSON.stringify(held.data);
        if (!same) {
          Object.assign(held, { data, error: null, loading: false, stale: false });
          redraw();
        }
      } catch (error) {
        if (mine.signal.aborted) return;
        failures += 1;
        if (!error.lost) {
          if (error.status === 404 || held.stale) held.data = undefined;
          Object.assign(held, { error, loading: false, stale: false });
          redraw();
        }
      }
      if (every && connection.value.state === "online" && visible.value) timer = setTimeout(load, every * 2 ** Math.min(failures, 4));
    };
    held.reload = load;
    const stopWatching = [
      connection.watch(({ state }) => state === "online" && load()),
      visible.watch((seen) => (seen ? every && load() : clearTimeout(timer))),
    ];
    load();
    return () => {
      clearTimeout(timer);
      running?.abort();
      for (const stop of stopWatching) stop();
    };
  }, [key, every]);
  return held;
}

const feeds = new Map();

// One event source per path, however many components listen: a browser opens only six connections to a server.
class Feed {
  constructor(path) {
    this.path = path;
    this.live = store(false);
    this.listeners = new Map();
    this.failures = 0;
    connection.watch(() => this.update());
    visible.watch(() => this.update());
  }

  add(name, listener) {
    if (!this.listeners.has(name)) this.listeners.set(name, new Set());
    this.listeners.get(name).add(listener);
    if (this.source) this.attach(name);
    this.update();
    return () => {
      this.listeners.get(name).delete(listener);
      // The next page often listens to the same events.
      setTimeout(() => this.update(), 500);
    };
  }

  attach(name) {
    if (this.attached.has(name)) return;
    this.attached.add(name);
    this.source.addEventListener(name, (event) => {
      const data = JSON.parse(event.data);
      for (const listener of [...this.listeners.get(name)]) listener(data);
    });
  }

  update() {
    const wanted = visible.value && connection.value.state === "online" && [...this.listeners.values()].some((set) => set.size);
    if (wanted && !this.source && !this.timer) this.open();
    else if (!wanted) this.close();
  }

  open() {
    this.source = new EventSource(address(this.path));
    this.attached = new Set();
    this.source.onopen = () => {
      this.failures = 0;
      this.live.set(true);
    };
    this.source.onerror = () => this.failed();
    for (const name of this.listeners.keys()) this.attach(name);
  }

  close() {
    clearTimeout(this.timer);
    this.timer = undefined;
    this.source?.close();
    this.source = undefined;
    this.live.set(false);
  }

  failed() {
    this.close();
    this.timer = setTimeout(
      () => {
        this.timer = undefined;
        this.update();
      },
      Math.min(60_000, 2000 * 2 ** this.failures),
    );
    this.failures += 1;
    // Is it this stream alone, or is the server gone?
    probe();
  }
}

/**
 * Listens to server-sent events while the component is shown.
 * @param {string | null} path null listens to nothing
 * @param {Record<string, (data: any) => void>} handlers by the event's name; the names may not change
 * @returns {boolean} whether the stream stands; poll while it doesn't
 */
export function useEvents(path, handlers) {
  const current = useRef(handlers);
  current.current = handlers;
  const [live, setLive] = useState(false);
  useEffect(() => {
    if (path === null) return undefined;
    if (!feeds.has(path)) feeds.set(path, new Feed(path));
    const feed = feeds.get(path);
    const stops = Object.keys(handlers).map((name) => feed.add(name, (data) => current.current[name](data)));
    stops.push(feed.live.watch(setLive));
    setLive(feed.live.value);
    return () => {
      for (const stop of stops) stop();
    };
  }, [path]);
  return live && path !== null;
}

/**
 * The newest of an object that comes as an event, or by polling while events don't come.
 * @returns {{data: any, fresh: boolean, error: ApiError | null, live: boolean}} `fresh`: data came since this page was opened
 */
export function useLive(eventsPath, event, path, { every = 5000 } = {}) {
  const [newest, setNewest] = useState(undefined);
  const live = useEvents(eventsPath, { [event]: setNewest });
  const fresh = newest !== undefined;
  const polling = !(live && fresh);
  const polled = useQuery(polling ? path : null, { every });
  useEffect(() => {
    if (polling && !polled.loading && polled.data !== undefined) setNewest(polled.data);
  }, [polling, polled.loading, polled.data]);
  return { data: newest ?? polled.data, fresh, error: fresh ? null : polled.error, live };
}
