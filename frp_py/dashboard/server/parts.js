/** What several pages of the server's dashboard show. */
import { html, remember, remembered, useState } from "./shared/base.js";
import { part, post, useEvents, useLive, useQuery } from "./shared/api.js";
import { bytes, date, dateTime, day, number, printable, time, weekday } from "./shared/format.js";
import { t } from "./shared/i18n.js";
import { Bars } from "./shared/plot.js";
import { setQuery, to } from "./shared/router.js";
import { Badge, Card, Empty, Failure, Loading, Name, Pager, SearchBox, SortSelect, Table, Tabs, confirm, toast } from "./shared/ui.js";

/** How often lists are asked for again, in milliseconds; changes that the server tells of come at once. */
export const EVERY = 5000;

const EVENTS = "api/x/events";
const SIZES = [10, 20, 50, 100];
const SIZE_KEY = "frp-page-size";
const HOUR = 3600;

/** The overview object, pushed every two seconds: as `useLive`. */
export const useOverview = () => useLive(EVENTS, "overview", "api/x/overview");

/** Calls `reload` when `what` ("clients" or "proxies") came or went. */
export const useChanges = (what, reload) => useEvents(EVENTS, { changed: (change) => change.what === what && reload() });

/** A client's key in the API, from the two parts that a proxy names it by. */
export const clientKey = ({ user, clientID }) => [user, clientID].filter(Boolean).join(".");

/** Whether something is online, in words and colour. */
export const Phase = ({ phase }) => html`<${Badge} tone=${phase === "online" ? "ok" : "quiet"} dot>${t(phase === "online" ? "phase.online" : "phase.offline")}<//>`;

/** Bytes in and out, marked by colour and word. */
export const InOut = ({ incoming, outgoing }) => html`<span class="in-out">
  <span><i class="swatch in" /><span class="sr">${t("plot.in")} </span>${bytes(incoming)}</span><span><i class="swatch out" /><span class="sr">${t("plot.out")} </span>${bytes(outgoing)}</span>
</span>`;

/** The part of the configuration that depends on the type, {} while the proxy is offline. */
export const block = (proxy) => proxy.spec[proxy.spec.type] ?? {};

/** Where users reach a proxy, as a list of texts. */
export function addresses(proxy, subdomainHost) {
  const { remotePort, customDomains = [], subdomain } = block(proxy);
  if (remotePort) return [`:${remotePort}`];
  return [...customDomains, ...(subdomain ? [subdomainHost ? `${subdomain}.${subdomainHost}` : subdomain] : [])];
}

/** The state of a list, which lies in the address so that it can be shared and returned to. */
export function listState(query, { by, order = "asc" }) {
  const wanted = Number(query.size || remembered(SIZE_KEY));
  return {
    q: query.q ?? "",
    page: Math.max(1, Math.floor(Number(query.page)) || 1),
    pageSize: SIZES.includes(wanted) ? wanted : 20,
    sort: { by: query.sort ?? by, order: query.order ?? order },
    asked: { sort: query.sort, order: query.sort && query.order },
  };
}

const turn = ({ page, pageSize }) => {
  remember(SIZE_KEY, String(pageSize));
  setQuery({ page: page === 1 ? "" : page, size: pageSize });
};

/** Sorts a list by another column. */
export const sortBy = ({ by, order }) => setQuery({ sort: by, order, page: "" });

/** The search field of a list. */
export const Search = ({ state, label }) => html`<${SearchBox} value=${state.q} label=${label} onSearch=${(q) => setQuery({ q, page: "" })} />`;

/** A page of a list: its table, what is shown instead when there is none, and the pager. `none` is shown when there is nothing at all. */
export function List({ found, state, columns, rowKey, rowHref, label, none, toolbar }) {
  const { data, error, stale, reload } = found;
  const last = data ? Math.max(1, Math.ceil(data.total / state.pageSize)) : 1;
  return html`<section class="card" aria-label=${label}>
    <div class="list-head">${toolbar}<${SortSelect} columns=${columns} sort=${state.sort} onSort=${sortBy} /></div>
    ${data
      ? html`${data.items.length
            ? html`<${Table} ...${{ label, columns, rowKey, rowHref }} rows=${data.items} sort=${state.sort} onSort=${sortBy} dim=${stale} />`
            : data.total
              ? html`<${Empty} title=${t("list.pastEnd")} action=${html`<button type="button" class="button plain" onClick=${() => turn({ page: last, pageSize: state.pageSize })}>${t("list.lastPage")}</button>`} />`
              : state.q
                ? html`<${Empty} icon="search" title=${t("list.noMatch", { q: printable(state.q).slice(0, 80) })} action=${html`<button type="button" class="button plain" onClick=${() => setQuery({ q: "", page: "" })}>${t("list.clearSearch")}</button>`} />`
                : none}
          ${data.total > 0 && html`<${Pager} page=${Math.min(state.page, last)} pageSize=${state.pageSize} total=${data.total} sizes=${SIZES} onChange=${turn} />`}`
      : error
        ? html`<${Failure} error=${error} retry=${reload} />`
        : html`<${Loading} lines=${8} />`}
  </section>`;
}

const proxyColumns = (subdomainHost, owner) => [
  { id: "name", label: t("proxy.name"), main: true, sort: true, cell: (proxy) => html`<${Name} text=${proxy.name} />` },
  { id: "type", label: t("proxy.type"), sort: true, width: "92px", cell: (proxy) => html`<span class="type">${proxy.spec.type}</span>` },
  { id: "address", label: t("proxy.address"), width: "17%", cell: (proxy) => html`<${Addresses} list=${addresses(proxy, subdomainHost)} />` },
  owner && { id: "client", label: t("proxy.client"), sort: true, width: "15%", cell: (proxy) => html`<${Owner} proxy=${proxy} />` },
  { id: "connections", label: t("proxy.connections"), sort: true, end: true, width: "118px", cell: (proxy) => number(proxy.status.curConns) },
  { id: "traffic", label: t("proxy.today"), sort: true, end: true, width: "212px", cell: (proxy) => html`<${InOut} incoming=${proxy.status.todayTrafficIn} outgoing=${proxy.status.todayTrafficOut} />` },
  { id: "status", label: t("proxy.status"), sort: true, corner: true, width: "108px", cell: (proxy) => html`<${Phase} phase=${proxy.status.phase} />` },
].filter(Boolean);

const Addresses = ({ list }) => {
  if (!list.length) return html`<span class="faint">–</span>`;
  return html`<span class="addresses"><${Name} text=${list[0]} />${list.length > 1 && html`<span class="faint" data-tip=${list.slice(1, 20).map(printable).join(", ")}> +${list.length - 1}</span>`}</span>`;
};

/** The client a proxy belongs to, as a link. */
export const Owner = ({ proxy }) => {
  const key = clientKey(proxy);
  return key ? html`<a class="owner" href=${to`/clients/${key}`}><${Name} text=${key} /></a>` : html`<span class="faint">–</span>`;
};

/** Proxies with search, order and paging; `filters` are parameters of the API, `from` the key of the client whose page this is on. */
export function ProxyList({ query, filters, from, none, tools }) {
  const state = listState(query, { by: filters.type || from ? "name" : "type" });
  const info = useQuery("api/v2/system/info");
  const found = useQuery("api/v2/proxies", {
    query: { ...filters, ...state.asked, q: state.q || undefined, page: state.page, pageSize: state.pageSize },
    every: EVERY,
    keep: true,
  });
  useChanges("proxies", () => found.reload());
  return html`<${List} ...${{ found, state, none }} columns=${proxyColumns(info.data?.config.subdomainHost, !from)} label=${t("nav.proxies")}
    rowKey=${(proxy) => `${proxy.spec.type}/${proxy.name}`} rowHref=${(proxy) => to`/proxy/${proxy.name}${{ client: from }}`}
    toolbar=${html`<${Search} state=${state} label=${t("proxies.search")} />${tools?.(found)}`} />`;
}

const SPANS = { hours: ["hour", 24], days: ["day", 7], month: ["day", 30] };

/** The traffic of a proxy or a client ("proxies" or "clients") by hour or day. */
export function TrafficHistory({ of, name }) {
  const [span, setSpan] = useState("days");
  const [granularity, count] = SPANS[span];
  const found = useQuery(`api/x/${of}/${part(name)}/traffic`, { query: { granularity, count }, every: 60_000, keep: true });
  const hours = found.data?.granularity === "hour";
  const points = found.data?.history.map((point) => {
    // A day begins at the server's midnight; noon is the same date in nearly every other zone too.
    const noon = point.time + 12 * HOUR;
    const label = hours ? time(point.time, false) : found.data.history.length > 7 ? day(noon) : weekday(noon);
    return { ...point, label, tip: hours ? dateTime(point.time) : date(noon) };
  });
  const choice = html`<${Tabs} pills label=${t("traffic.span")} value=${span} onChange=${setSpan} items=${Object.keys(SPANS).map((id) => ({ id, label: t(`traffic.${id}`) }))} />`;
  return html`<${Card} title=${t("traffic.history")} actions=${choice} class=${found.stale && "dim"}>
    ${points
      ? html`<${Bars} label=${t("traffic.history")} points=${points} every=${points.length > 24 ? 6 : points.length > 7 ? 4 : 1} />`
      : found.error
        ? html`<${Failure} error=${found.error} retry=${found.reload} />`
        : html`<div class="bars-space"><${Loading} lines=${5} /></div>`}
  <//>`;
}

/** Asks, then ends a client's session. */
export async function kick(client) {
  const name = printable(client.key);
  const done = await confirm({
    title: t("kick.title"),
    text: t("kick.text", { name: name.length > 120 ? `${name.slice(0, 120)}…` : name }),
    action: t("kick.action"),
    danger: true,
    run: () => post(`api/x/clients/${part(client.key)}/kick`),
  });
  if (done) toast(t("kick.done"));
  return done;
}
