/** What frpc is doing: one object for all pages, kept up to date by events or, while they don't come, by asking. */
import { store, useEffect, useRef, useState, useStore } from "./shared/base.js";
import { useEvents, useQuery } from "./shared/api.js";

const newest = store(null);

/** The newest GET api/x/status: {status: object | null, error, reload}. One component of a page asks, and hands it on. */
export function useStatus() {
  const live = useEvents("api/x/events", { status: newest.set });
  const { data, error, reload } = useQuery("api/x/status", { every: live ? 30_000 : 3000 });
  useEffect(() => {
    if (data) newest.set(data);
  }, [data]);
  return { status: useStore(newest), error, reload };
}

/** Asks again when what runs of the store, or of the entry `name`, has changed: no clock, for each request is a line in frpc's log. */
export function useFresh(reload, items, name) {
  const seen = items && JSON.stringify(items.filter((item) => (name === undefined ? item.source === "store" : item.name === name)).map((item) => [item.name, item.status, item.enabled]));
  const before = useRef(seen);
  useEffect(() => {
    if (before.current !== undefined && before.current !== seen) reload();
    before.current = seen;
  }, [seen]);
}

/** The value, once it has not changed for `milliseconds`. */
export function useSettled(value, milliseconds) {
  const [settled, setSettled] = useState(value);
  useEffect(() => {
    const timer = setTimeout(setSettled, milliseconds, value);
    return () => clearTimeout(timer);
  }, [value, milliseconds]);
  return settled;
}
