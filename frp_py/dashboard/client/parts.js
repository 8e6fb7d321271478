/** What the lists and details of proxies and visitors have in common. */
import { html } from "./shared/base.js";
import { del, part, put } from "./shared/api.js";
import { printable } from "./shared/format.js";
import { t } from "./shared/i18n.js";
import { setQuery, to } from "./shared/router.js";
import { Badge, Button, Card, Copy, Empty, Menu, Name, Pager, SortSelect, Table, confirm, toast } from "./shared/ui.js";
import { blockOf, definitionOf, pillOf } from "./fields.js";

const TONES = { running: "ok", error: "bad", waiting: "warn" };

/** A state of a proxy or visitor. */
export function StateBadge({ item }) {
  if (item.enabled === false) return html`<${Badge}>${t("status.disabled")}<//>`;
  return html`<${Badge} tone=${TONES[pillOf(item.status)]} dot>${t(`status.${item.status}`)}<//>`;
}

/** Where something was configured. */
export const SourceBadge = ({ source }) => html`<${Badge} tone=${source === "store" ? "info" : "quiet"}>${t(`source.${source}`)}<//>`;

/** A kind, as a word that is not translated. */
export const TypeBadge = ({ type }) => html`<span class="type">${type}</span>`;

/** The path of the API's routes for entries of the store. */
export const storePath = (kind, name) => `api/store/${kind === "proxy" ? "proxies" : "visitors"}${name === undefined ? "" : `/${part(name)}`}`;

/** The address of a page about an entry: "detail" or "edit". */
export function entryAddress(kind, name, page) {
  if (page === "edit") return kind === "proxy" ? to`/proxies/${name}/edit` : to`/visitors/${name}/edit`;
  return kind === "proxy" ? to`/proxies/detail/${name}` : to`/visitors/detail/${name}`;
}

async function enable(kind, definition, enabled) {
  const block = { ...blockOf(definition), enabled };
  await put(storePath(kind, definition.name), { body: definitionOf(kind, block) });
  toast(t(enabled ? "store.enabled" : "store.disabled", { name: printable(definition.name) }));
}

/** Asks, and deletes an entry of the store; resolves with whether that was done. */
export async function removeEntry(kind, name) {
  const gone = await confirm({
    title: t("store.deleteTitle", { name: printable(name) }),
    text: t("store.deleteText"),
    action: t("store.delete"),
    danger: true,
    run: () => del(storePath(kind, name)),
  });
  if (gone) toast(t("store.deleted", { name: printable(name) }));
  return gone;
}

/** What can be done with an entry of the store. `changed` is called after it. */
export function EntryMenu({ kind, definition, why, changed }) {
  const { name } = definition;
  const off = definition[definition.type].enabled === false;
  const done = (act) => async () => {
    try {
      await act();
    } catch (error) {
      toast(error.message, "bad");
    }
    changed();
  };
  return html`<${Menu} label=${t("store.menu", { name: printable(name) })} items=${[
    { label: t(off ? "store.enable" : "store.disable"), icon: off ? "play" : "pause", why, onClick: done(() => enable(kind, definition, off)) },
    { label: t("store.edit"), icon: "edit", why, onClick: () => { location.hash = entryAddress(kind, name, "edit"); } },
    { label: `${t("store.delete")} …`, icon: "trash", tone: "bad", why, onClick: done(() => removeEntry(kind, name)) },
  ]} />`;
}

/** How the store is switched on. */
export function StoreOff() {
  const text = '[store]\npath = "./frpc_store.json"';
  return html`<${Card}><${Empty} icon="lock" title=${t("store.off")} action=${html`<div class="snippet"><pre>${text}</pre><${Copy} text=${text} /></div>`}>${t("store.offText")}<//><//>`;
}

/** The button that makes a new entry. */
export const NewButton = ({ kind, why }) => html`<${Button} kind="primary" icon="plus" why=${why} href=${why ? undefined : kind === "proxy" ? "#/proxies/create" : "#/visitors/create"}>
  ${t(kind === "proxy" ? "proxies.new" : "visitors.new")}
<//>`;

/** A choice among few values in a row of filters; "" is all. */
export const Filter = ({ label, value, options, onChange }) => html`<label class="filter"><span>${label}</span>
  <select value=${value} onChange=${(event) => onChange(event.target.value)}>
    <option value="">${t("filter.all")}</option>
    ${options.map(([id, text]) => html`<option value=${id}>${text}</option>`)}
  </select>
</label>`;

/** Whether one of the texts holds what is searched. */
export const holds = (search, ...texts) => {
  const wanted = search.trim().toLowerCase();
  return !wanted || texts.some((text) => text?.toLowerCase().includes(wanted));
};

/** `remote → local`, with what is known of both. */
export const Route = ({ item }) => html`<span class="route">
  <${Name} text=${item.remoteAddr || "–"} class="mono" /><span class="faint" aria-hidden="true">→</span><${Name} text=${item.plugin ? `plugin:${item.plugin}` : item.localAddr || "–"} class="mono" />
</span>`;

const compared = (a, b) => (a < b ? -1 : a > b ? 1 : 0);

function sorted(rows, columns, sort) {
  const value = columns.find((column) => column.id === sort.by)?.value ?? ((row) => row.name);
  const sign = sort.order === "desc" ? -1 : 1;
  return [...rows].sort((a, b) => sign * compared(value(a), value(b)) || compared(a.name, b.name));
}

/** Changes the query of a list's address, and goes back to its first page. */
export const change = (changes) => setQuery({ page: undefined, ...changes });

/** A list of entries with its pages; the query of the address says which part is shown and in which order. Columns that sort may have `value(row)`. */
export function List({ label, columns, rows, query, kind }) {
  const sort = { by: query.sort ?? "name", order: query.order ?? "asc" };
  const pageSize = Number(query.size) || 50;
  const page = Math.min(Math.max(1, Number(query.page) || 1), Math.max(1, Math.ceil(rows.length / pageSize)));
  const shown = sorted(rows, columns, sort).slice((page - 1) * pageSize, page * pageSize);
  return html`<${Card} flush class="entries">
    <div class="entries-sort"><${SortSelect} columns=${columns} sort=${sort} onSort=${({ by, order }) => change({ sort: by, order })} /></div>
    <${Table} label=${label} columns=${columns} rows=${shown} rowKey=${(row) => row.name} rowHref=${(row) => entryAddress(kind, row.name, "detail")}
      sort=${sort} onSort=${({ by, order }) => change({ sort: by, order })} />
    ${rows.length > 10 && html`<${Pager} page=${page} pageSize=${pageSize} total=${rows.length} onChange=${(next) => setQuery({ page: next.page, size: next.pageSize })} />`}
  <//>`;
}
