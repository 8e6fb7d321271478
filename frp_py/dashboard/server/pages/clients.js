/** `#/clients`: the programs that are or were connected. */
import { html } from "../shared/base.js";
import { useQuery } from "../shared/api.js";
import { t } from "../shared/i18n.js";
import { useReadOnly } from "../shared/layout.js";
import { setQuery, to, useTitle } from "../shared/router.js";
import { Ago, Empty, Menu, Name, Page, Tabs } from "../shared/ui.js";
import { EVERY, List, Phase, Search, kick, listState, useChanges, useOverview } from "../parts.js";

const columns = (readOnly, reload) => [
  { id: "name", label: t("client.name"), main: true, sort: true, cell: (client) => html`<${Name} text=${client.key} />` },
  { id: "hostname", label: t("client.hostname"), width: "15%", cell: (client) => (client.hostname ? html`<${Name} text=${client.hostname} />` : html`<span class="faint">–</span>`) },
  { id: "address", label: t("client.address"), sort: true, width: "150px", cell: (client) => html`<${Name} text=${client.clientIP || "–"} />` },
  { id: "version", label: t("client.version"), sort: true, width: "132px", cell: (client) => html`<${Version} client=${client} />` },
  { id: "status", label: t("client.status"), corner: true, width: "112px", cell: (client) => html`<${Phase} phase=${client.online ? "online" : "offline"} />` },
  { id: "connected", label: t("client.since"), sort: true, width: "150px", cell: (client) => html`<${Since} client=${client} />` },
  {
    id: "menu",
    label: html`<span class="sr">${t("client.actions")}</span>`,
    end: true,
    width: "64px",
    hide: true,
    cell: (client) => html`<${Menu} label=${t("client.actions")} trigger=${{ small: true }} items=${[
      { label: t("client.open"), icon: "eye", href: to`/clients/${client.key}` },
      { label: t("client.itsProxies"), icon: "proxy", href: to`/proxies${{ user: client.user, client: client.clientID }}` },
      client.online && { label: t("kick.action"), icon: "power", tone: "bad", why: readOnly, onClick: async () => (await kick(client)) && reload() },
    ]} />`,
  },
];

const Version = ({ client }) => html`<span class="version"><${Name} text=${client.version || "–"} />${client.wireProtocol && html`<span class="faint">${client.wireProtocol}</span>`}</span>`;

const Since = ({ client }) => html`<${Ago} at=${client.online ? client.lastConnectedAt : client.disconnectedAt} />`;

// By itself: its numbers come every two seconds, and the list below is not to be drawn that often.
function States({ status }) {
  const { data: overview } = useOverview();
  const tabs = [
    { id: "all", label: t("clients.all"), count: overview && overview.clients + overview.clientsOffline },
    { id: "online", label: t("phase.online"), count: overview?.clients },
    { id: "offline", label: t("phase.offline"), count: overview?.clientsOffline },
  ];
  return html`<${Tabs} label=${t("clients.filter")} items=${tabs} value=${status} onChange=${(next) => setQuery({ status: next === "all" ? "" : next, page: "" })} />`;
}

/** The page. */
export function Clients({ query }) {
  useTitle(t("nav.clients"));
  const readOnly = useReadOnly();
  const state = listState(query, { by: "name" });
  const status = ["online", "offline"].includes(query.status) ? query.status : "all";
  const found = useQuery("api/v2/clients", {
    query: { status, ...state.asked, q: state.q || undefined, page: state.page, pageSize: state.pageSize },
    every: EVERY,
    keep: true,
  });
  useChanges("clients", () => found.reload());
  return html`<${Page} title=${t("nav.clients")} subtitle=${t("clients.about")}>
    <${States} status=${status} />
    <${List} ...${{ found, state }} columns=${columns(readOnly, () => found.reload())} label=${t("nav.clients")} rowKey=${(client) => client.key + client.runID} rowHref=${(client) => to`/clients/${client.key}`}
      toolbar=${html`<${Search} state=${state} label=${t("clients.search")} />`}
      none=${html`<${Empty} icon="client" title=${t(`clients.none.${status}`)}>${status !== "offline" && t("clients.noneHelp")}<//>`} />
  <//>`;
}
