/** All proxies: how they are, and what the store holds. */
import { html } from "../shared/base.js";
import { useQuery } from "../shared/api.js";
import { t } from "../shared/i18n.js";
import { useReadOnly } from "../shared/layout.js";
import { useTitle } from "../shared/router.js";
import { Button, Card, Empty, Failure, Loading, Name, Page, SearchBox, Tabs } from "../shared/ui.js";
import { PROXY_TYPES, pillOf } from "../fields.js";
import { LinkNotice, LinkState, ProgramActions } from "../link.js";
import { useFresh, useStatus } from "../live.js";
import { EntryMenu, Filter, List, NewButton, Route, SourceBadge, StateBadge, StoreOff, TypeBadge, change, holds, storePath } from "../parts.js";

const PILLS = ["all", "running", "error", "waiting"];

const nameColumn = () => ({ id: "name", label: t("column.name"), main: true, width: "26%", sort: true, cell: (row) => html`<${Name} text=${row.name} />` });
const typeColumn = () => ({ id: "type", label: t("field.type"), width: "92px", sort: true, value: (row) => row.type, cell: (row) => html`<${TypeBadge} type=${row.type} />` });

const RouteCell = ({ row }) => html`<${Route} item=${row} />${row.err && html`<p class="row-error"><${Name} text=${row.err} class="wrap" /></p>`}`;

const statusColumns = () => [
  nameColumn(),
  typeColumn(),
  { id: "route", label: t("column.route"), cell: (row) => html`<${RouteCell} row=${row} />` },
  { id: "source", label: t("column.source"), width: "110px", sort: true, value: (row) => row.source, cell: (row) => html`<${SourceBadge} source=${row.source} />` },
  { id: "status", label: t("column.status"), width: "150px", sort: true, value: (row) => row.status, cell: (row) => html`<${StateBadge} item=${row} />` },
];

function StatusTab({ status, query, reload }) {
  const all = status.proxies.filter((proxy) => proxy.enabled);
  const rows = all.filter(
    (proxy) => holds(query.q ?? "", proxy.name, proxy.type, proxy.localAddr, proxy.remoteAddr, proxy.plugin, proxy.err) &&
      (!query.source || proxy.source === query.source) && (!query.type || proxy.type === query.type),
  );
  const counts = { all: rows.length, running: 0, error: 0, waiting: 0 };
  for (const proxy of rows) counts[pillOf(proxy.status)] += 1;
  const pill = PILLS.includes(query.state) ? query.state : "all";
  const shown = pill === "all" ? rows : rows.filter((proxy) => pillOf(proxy.status) === pill);
  const pills = PILLS.map((id) => ({ id, label: t(`pill.${id}`), count: counts[id] }));
  return html`<div class="toolbar">
      <${Tabs} pills label=${t("pill.label")} value=${pill} items=${pills} onChange=${(id) => change({ state: id === "all" ? "" : id })} />
      <${SearchBox} label=${t("proxies.search")} value=${query.q ?? ""} onSearch=${(q) => change({ q })} />
      <${Filter} label=${t("filter.source")} value=${query.source ?? ""} options=${["config", "store"].map((id) => [id, t(`source.${id}`)])} onChange=${(source) => change({ source })} />
      <${Filter} label=${t("filter.type")} value=${query.type ?? ""} options=${PROXY_TYPES.map((type) => [type, type])} onChange=${(type) => change({ type })} />
      <${Button} icon="refresh" label=${t("proxies.refresh")} onClick=${reload} />
    </div>
    ${all.length === 0 ? html`<${Card}><${Empty} title=${t("proxies.none")}>${t("proxies.noneText")}<//><//>`
      : shown.length === 0 ? html`<${Card}><${Empty} icon="search" title=${t("proxies.noMatch")}>${t("proxies.noMatchText")}<//><//>`
      : html`<${List} label=${t("proxies.title")} columns=${statusColumns()} rows=${shown} query=${query} kind="proxy" />`}`;
}

/** What the store holds of proxies, with what is known of their state. */
function StoreTab({ status, query, why }) {
  const { data, error, reload } = useQuery(storePath("proxy"));
  useFresh(reload, status.proxies);
  if (error) return html`<${Card}><${Failure} error=${error} retry=${reload} /><//>`;
  if (!data) return html`<${Card}><${Loading} /><//>`;
  const states = new Map(status.proxies.map((proxy) => [proxy.name, proxy]));
  const all = data.proxies.map((definition) => {
    const block = definition[definition.type];
    const known = states.get(definition.name);
    const own = known?.source === "store" ? known : { status: "unknown", err: "", localAddr: block.localPort ? `${block.localIP}:${block.localPort}` : "", plugin: block.plugin?.type };
    return { ...own, name: definition.name, type: definition.type, enabled: block.enabled !== false, definition };
  });
  const rows = all.filter((row) => holds(query.q ?? "", row.name, row.type, row.localAddr, row.remoteAddr, row.plugin) && (!query.type || row.type === query.type));
  const columns = [
    nameColumn(),
    typeColumn(),
    { id: "route", label: t("column.route"), cell: (row) => html`<${RouteCell} row=${row} />` },
    { id: "status", label: t("column.status"), width: "150px", sort: true, value: (row) => row.status, cell: (row) => html`<${StateBadge} item=${row} />` },
    { id: "menu", label: t("column.actions"), end: true, width: "92px", cell: (row) => html`<${EntryMenu} kind="proxy" definition=${row.definition} why=${why} changed=${reload} />` },
  ];
  const make = html`<${NewButton} kind="proxy" why=${why} />`;
  if (!all.length) return html`<${Card}><${Empty} title=${t("store.none")} action=${make}>${t("store.noneProxies", { path: status.storePath })}<//><//>`;
  return html`<div class="toolbar">
      <${SearchBox} label=${t("proxies.search")} value=${query.q ?? ""} onSearch=${(q) => change({ q })} />
      <${Filter} label=${t("filter.type")} value=${query.type ?? ""} options=${PROXY_TYPES.map((type) => [type, type])} onChange=${(type) => change({ type })} />
      <span class="gap" />${make}
    </div>
    ${rows.length ? html`<${List} label=${t("source.store")} columns=${columns} rows=${rows} query=${query} kind="proxy" />`
      : html`<${Card}><${Empty} icon="search" title=${t("proxies.noMatch")}>${t("proxies.noMatchText")}<//><//>`}`;
}

/** #/proxies; `?tab=store` is the other tab. */
export function Proxies({ query }) {
  useTitle(t("proxies.title"));
  const why = useReadOnly();
  const { status, error, reload } = useStatus();
  const tab = query.tab === "store" ? "store" : "status";
  const tabs = ["status", "store"].map((id) => ({ id, label: t(id === "status" ? "proxies.tabStatus" : "proxies.tabStore") }));
  const choose = (id) => change({ tab: id === "store" ? id : "", state: "", source: "", sort: "", order: "" });
  return html`<${Page} title=${t("proxies.title")} subtitle=${html`<${LinkState} status=${status} />`} actions=${html`<${ProgramActions} />`}>
    <${LinkNotice} status=${status} />
    <${Tabs} label=${t("proxies.title")} items=${tabs} value=${tab} onChange=${choose} />
    ${!status ? html`<${Card}>${error ? html`<${Failure} error=${error} retry=${reload} />` : html`<${Loading} lines=${6} />`}<//>`
      : tab === "status" ? html`<${StatusTab} status=${status} query=${query} reload=${reload} />`
      : status.storePath ? html`<${StoreTab} status=${status} query=${query} why=${why} />`
      : html`<${StoreOff} />`}
  <//>`;
}
