/** All visitors, of the configuration and of the store. */
import { html } from "../shared/base.js";
import { useQuery } from "../shared/api.js";
import { t } from "../shared/i18n.js";
import { useReadOnly } from "../shared/layout.js";
import { useTitle } from "../shared/router.js";
import { Card, Empty, Failure, Loading, Name, Page, SearchBox } from "../shared/ui.js";
import { VISITOR_TYPES } from "../fields.js";
import { LinkNotice, LinkState, ProgramActions } from "../link.js";
import { useFresh, useStatus } from "../live.js";
import { EntryMenu, Filter, List, NewButton, SourceBadge, StateBadge, StoreOff, TypeBadge, change, holds, storePath } from "../parts.js";

/** Those that run or should, and those that are only in the store; entries of the store come with their definition. */
function merged(running, stored) {
  const definitions = new Map(stored.map((definition) => [definition.name, definition]));
  const rows = running.map((visitor) => ({ ...visitor, definition: visitor.source === "store" ? definitions.get(visitor.name) : undefined }));
  const known = new Set(rows.filter((row) => row.definition).map((row) => row.name));
  for (const definition of stored) {
    if (known.has(definition.name)) continue;
    const block = definition[definition.type];
    rows.push({
      name: definition.name, type: definition.type, status: "unknown", err: "", source: "store", definition,
      bindAddr: block.bindPort > 0 ? `${block.bindAddr || "127.0.0.1"}:${block.bindPort}` : "", enabled: block.enabled !== false,
    });
  }
  return rows;
}

const bound = (row) => (row.bindAddr && !/:(0|-\d+)$/.test(row.bindAddr) ? row.bindAddr : t("visitors.noListener"));

/** #/visitors */
export function Visitors({ query }) {
  useTitle(t("visitors.title"));
  const readOnly = useReadOnly();
  const { status, error, reload } = useStatus();
  const withStore = Boolean(status?.storePath);
  const stored = useQuery(withStore ? storePath("visitor") : null);
  useFresh(stored.reload, status?.visitors);
  const head = { title: t("visitors.title"), subtitle: html`<${LinkState} status=${status} />`, actions: html`<${ProgramActions} />` };
  if (!status || (withStore && !stored.data)) {
    const failure = error ?? stored.error;
    return html`<${Page} ...${head}><${Card}>${failure ? html`<${Failure} error=${failure} retry=${error ? reload : stored.reload} />` : html`<${Loading} />`}<//><//>`;
  }
  const all = merged(status.visitors, stored.data?.visitors ?? []);
  const rows = all.filter(
    (row) => holds(query.q ?? "", row.name, row.type, row.bindAddr, row.err, row.definition?.[row.type].serverName) && (!query.type || row.type === query.type),
  );
  const columns = [
    { id: "name", label: t("column.name"), main: true, width: "26%", sort: true, cell: (row) => html`<${Name} text=${row.name} />` },
    { id: "type", label: t("field.type"), width: "92px", sort: true, value: (row) => row.type, cell: (row) => html`<${TypeBadge} type=${row.type} />` },
    { id: "bind", label: t("column.bind"), cell: (row) => html`<${Name} text=${bound(row)} class="mono" />${row.err && html`<p class="row-error"><${Name} text=${row.err} class="wrap" /></p>`}` },
    { id: "source", label: t("column.source"), width: "110px", sort: true, value: (row) => row.source, cell: (row) => html`<${SourceBadge} source=${row.source} />` },
    { id: "status", label: t("column.status"), width: "150px", sort: true, value: (row) => row.status, cell: (row) => html`<${StateBadge} item=${row} />` },
    withStore && {
      id: "menu", label: t("column.actions"), end: true, width: "92px",
      cell: (row) => row.definition && html`<${EntryMenu} kind="visitor" definition=${row.definition} why=${readOnly} changed=${stored.reload} />`,
    },
  ].filter(Boolean);
  const make = withStore && html`<${NewButton} kind="visitor" why=${readOnly} />`;
  return html`<${Page} ...${head}>
    <${LinkNotice} status=${status} />
    ${all.length > 0 && html`<div class="toolbar">
      <${SearchBox} label=${t("visitors.search")} value=${query.q ?? ""} onSearch=${(q) => change({ q })} />
      <${Filter} label=${t("filter.type")} value=${query.type ?? ""} options=${VISITOR_TYPES.map((type) => [type, type])} onChange=${(type) => change({ type })} />
      <span class="gap" />${make}
    </div>`}
    ${all.length === 0 ? html`<${Card}><${Empty} icon="visitor" title=${t("visitors.none")} action=${make}>${t("visitors.noneText")}<//><//>`
      : rows.length === 0 ? html`<${Card}><${Empty} icon="search" title=${t("proxies.noMatch")}>${t("proxies.noMatchText")}<//><//>`
      : html`<${List} label=${t("visitors.title")} columns=${columns} rows=${rows} query=${query} kind="visitor" />`}
    ${!withStore && html`<${StoreOff} />`}
  <//>`;
}
