/** The rendering library as the dashboards use it, and values that components watch. */
import { Fragment, createContext, h, render } from "./vendor/preact.js";
import { useCallback, useContext, useEffect, useId, useLayoutEffect, useMemo, useReducer, useRef, useState } from "./vendor/hooks.js";
import htm from "./vendor/htm.js";

export { Fragment, createContext, h, render, useCallback, useContext, useEffect, useId, useLayoutEffect, useMemo, useReducer, useRef, useState };

/** Tagged template that makes elements: html`<p class="x">${text}</p>`. Values are always text or elements, never markup. */
export const html = htm.bind(h);

/** Joins the class names that are truthy. */
export const classes = (...names) => names.filter(Boolean).join(" ");

/**
 * A value that can be watched.
 * @template T
 * @param {T} initial
 * @returns {{readonly value: T, set(next: T): void, watch(listener: (value: T) => void): () => void}}
 */
export function store(initial) {
  let value = initial;
  const listeners = new Set();
  return {
    get value() {
      return value;
    },
    set(next) {
      if (Object.is(next, value)) return;
      value = next;
      for (const listener of [...listeners]) listener(value);
    },
    watch(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}

/** The value of a store; the component is drawn anew when it changes. */
export function useStore(watched) {
  const [value, setValue] = useState(watched.value);
  useLayoutEffect(() => {
    setValue(watched.value);
    return watched.watch(setValue);
  }, [watched]);
  return value;
}

/** What was kept in this browser under `key`, or null where it keeps nothing. */
export function remembered(key) {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

/** Keeps `value` in this browser; null forgets it. */
export function remember(key, value) {
  try {
    if (value === null) localStorage.removeItem(key);
    else localStorage.setItem(key, value);
  } catch {
    // A browser that keeps nothing asks again the next time.
  }
}
