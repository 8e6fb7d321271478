/** One proxy or visitor: its state, what is wrong with it, and all that is set. */
import { html, useState } from "../shared/base.js";
import { part, useQuery } from "../shared/api.js";
import { printable } from "../shared/format.js";
import { t } from "../shared/i18n.js";
import { useReadOnly } from "../shared/layout.js";
import { navigate, useTitle } from "../shared/router.js";
import { Badge, Button, Card, Empty, Facts, Failure, Loading, Name, Notice, Page } from "../shared/ui.js";
import { applies, blockOf, sectionsOf, valueAt } from "../fields.js";
import { LinkNotice } from "../link.js";
import { useFresh, useStatus } from "../live.js";
import { SourceBadge, StateBadge, TypeBadge, entryAddress, removeEntry } from "../parts.js";

/** A secret is shown only when it is asked for: others may see the screen. */
function Secret({ text, label }) {
  const [shown, setShown] = useState(false);
  return html`<span class="secret">
    ${shown ? html`<${Name} text=${text} class="mono wrap" />` : html`<span class="mono" aria-label=${t("detail.hidden")} role="img">••••••••</span>`}
    <${Button} kind="ghost" small icon="eye" label=${`${t(shown ? "detail.hide" : "detail.show")}: ${label}`} aria-pressed=${shown} onClick=${() => setShown(!shown)} />
  </span>`;
}

const Pairs = ({ pairs }) => html`<ul class="pairs">${pairs.map(([name, value]) => html`<li key=${name}><${Name} text=${name} class="mono" /><${Name} text=${value} class="mono wrap" /></li>`)}</ul>`;

const shows = {
  secret: (value, label) => html`<${Secret} text=${value} label=${label} />`,
  check: (value) => t(value ? "detail.yes" : "detail.no"),
  list: (value) => html`<ul class="chips">${value.map((item) => html`<li key=${item} class="chip"><${Name} text=${item} /></li>`)}</ul>`,
  map: (value) => html`<${Pairs} pairs=${Object.entries(value)} />`,
  headers: (value) => html`<${Pairs} pairs=${value.map(({ name, value: text }) => [name, text])} />`,
};

const isSet = (value) => value !== undefined && value !== null && value !== "" && !(typeof value === "object" && Object.keys(value).length === 0);

function SectionCard({ section, block }) {
  const rows = section.fields
    .filter((field) => applies(field, block) && isSet(valueAt(block, field.path)))
    .map((field) => {
      const label = t(`field.${field.path}`);
      const value = valueAt(block, field.path);
      return [label, shows[field.kind]?.(value, label) ?? html`<${Name} text=${value} class="mono wrap" />`];
    });
  if (section.id === "backend" && block.plugin?.type) rows.unshift([t("field.plugin.type"), html`<span class="mono">${block.plugin.type}</span>`]);
  if (!rows.length) return null;
  return html`<${Card} title=${t(`section.${section.id}`)}><${Facts} rows=${rows} /><//>`;
}

/** What keeps it from running, and what helps. */
function Trouble({ item }) {
  if (!item?.err && item?.status !== "check failed") return null;
  return html`<${Notice} tone="bad" title=${t(item.status === "check failed" ? "detail.checkFailed" : "detail.error")}>
    ${item.err && html`<p><${Name} text=${item.err} class="wrap mono" /></p>`}
    ${item.advice && html`<p><strong>${t("detail.advice")}:</strong> ${item.advice}</p>`}
  <//>`;
}

function Detail({ kind, name }) {
  useTitle(printable(name));
  const why = useReadOnly();
  const { status } = useStatus();
  const { data: definition, error, reload } = useQuery(`api/${kind}/${part(name)}/config`);
  useFresh(reload, kind === "proxy" ? status?.proxies : status?.visitors, name);
  const crumbs = [{ label: t(`nav.${kind === "proxy" ? "proxies" : "visitors"}`), href: kind === "proxy" ? "#/proxies" : "#/visitors" }];
  const title = html`<${Name} text=${name} />`;
  if (error?.status === 404) {
    const back = html`<${Button} href=${crumbs[0].href}>${t("detail.back")}<//>`;
    return html`<${Page} title=${title} crumbs=${crumbs}><${Card}>
      <${Empty} icon="search" title=${t(kind === "proxy" ? "detail.proxyMissing" : "detail.visitorMissing")} action=${back}>${t("detail.missingText", { name: printable(name) })}<//>
    <//><//>`;
  }
  if (!definition) return html`<${Page} title=${title} crumbs=${crumbs}><${Card}>${error ? html`<${Failure} error=${error} retry=${reload} />` : html`<${Loading} lines=${6} />`}<//><//>`;
  const block = blockOf(definition);
  const item = (kind === "proxy" ? status?.proxies : status?.visitors)?.find((one) => one.name === name);
  const off = block.enabled === false;
  const inStore = item ? item.source === "store" : off;
  const remove = async () => {
    if (await removeEntry(kind, name)) navigate(crumbs[0].href);
  };
  const actions = inStore && html`<${Button} kind="danger" icon="trash" why=${why} onClick=${remove}>${t("store.delete")}<//>
    <${Button} kind="primary" icon="edit" why=${why} href=${why ? undefined : entryAddress(kind, name, "edit")}>${t("store.edit")}<//>`;
  const subtitle = html`<span class="row"><${TypeBadge} type=${block.type} />${item ? html`<${StateBadge} item=${item} /><${SourceBadge} source=${item.source} />` : off && html`<${Badge}>${t("status.disabled")}<//>`}</span>`;
  return html`<${Page} title=${title} subtitle=${subtitle} crumbs=${crumbs} actions=${actions}>
    <${LinkNotice} status=${status} />
    <${Trouble} item=${item} />
    <div class="grid two">
      ${kind === "proxy" && html`<${Place} label=${t("detail.remote")} value=${item?.remoteAddr} />`}
      <${Place} label=${t(kind === "proxy" ? "detail.local" : "column.bind")} value=${kind === "visitor" ? item?.bindAddr : item?.plugin ? `plugin:${item.plugin}` : item?.localAddr} />
      ${kind === "visitor" && html`<${Place} label=${t("field.serverName")} value=${[block.serverUser, block.serverName].filter(Boolean).join(".")} />`}
    </div>
    <div class="grid two">${sectionsOf(kind).map((section) => html`<${SectionCard} key=${section.id} section=${section} block=${block} />`)}</div>
  <//>`;
}

const Place = ({ label, value }) => html`<div class="card stat"><span class="stat-label">${label}</span><span class="stat-place"><${Name} text=${value || "–"} class="mono wrap" /></span></div>`;

/** #/proxies/detail/{name} */
export const ProxyDetail = ({ name }) => html`<${Detail} kind="proxy" name=${name} />`;

/** #/visitors/detail/{name} */
export const VisitorDetail = ({ name }) => html`<${Detail} kind="visitor" name=${name} />`;
