/** `#/proxies/TYPE`: everything that clients offer or offered. */
import { html } from "../shared/base.js";
import { post } from "../shared/api.js";
import { number, printable } from "../shared/format.js";
import { t } from "../shared/i18n.js";
import { useReadOnly } from "../shared/layout.js";
import { navigate, setQuery, to, useTitle } from "../shared/router.js";
import { Button, Empty, Page, Tabs, confirm, toast } from "../shared/ui.js";
import { ProxyList, clientKey, useOverview } from "../parts.js";

const TYPES = ["tcp", "udp", "http", "https", "tcpmux", "stcp", "xtcp", "sudp"];
const STATES = ["all", "online", "offline"];

const total = (counts) => Object.values(counts).reduce((a, b) => a + b, 0);

async function clearOffline(reload) {
  let result;
  const done = await confirm({
    title: t("prune.title"),
    text: t("prune.text"),
    action: t("prune.action"),
    danger: true,
    run: async () => {
      result = await post("api/v2/system/prune", { query: { type: "offline_proxies" } });
    },
  });
  if (!done) return;
  toast(t("prune.done", { n: result.cleared }));
  await reload();
}

// By themselves: their numbers come every two seconds, and the list below is not to be drawn that often.
function Kinds({ known, kept }) {
  const { data } = useOverview();
  const counts = data?.proxyTypeCount ?? {};
  const tabs = [
    { id: "all", label: t("proxies.all"), count: data && total(counts) },
    ...TYPES.map((id) => ({ id, label: id.toUpperCase(), count: counts[id] || undefined })),
  ];
  return html`<${Tabs} label=${t("proxies.kinds")} items=${tabs} value=${known} onChange=${(id) => navigate(id === "all" ? to`/proxies${kept}` : to`/proxies/${id}${kept}`)} />`;
}

function Active() {
  const { data } = useOverview();
  return html`<span>${data ? t("proxies.about", { n: number(total(data.proxyTypeCount)) }) : "\u00a0"}</span>`;
}

/** The page; the query may name a client by `user` and `client`. */
export function Proxies({ type = "all", query }) {
  useTitle(t("nav.proxies"));
  const readOnly = useReadOnly();
  const known = TYPES.includes(type) ? type : "all";
  const status = STATES.includes(query.status) ? query.status : "all";
  const { page: _page, size: _size, ...kept } = query;
  const byClient = query.client ?? query.user;
  const tools = (found) => html`
    <select aria-label=${t("proxies.status")} value=${status} onChange=${(event) => setQuery({ status: event.target.value === "all" ? "" : event.target.value, page: "" })}>
      ${STATES.map((id) => html`<option value=${id}>${t(id === "all" ? "proxies.anyStatus" : `phase.${id}`)}</option>`)}
    </select>
    ${byClient && html`<button type="button" class="button small plain" onClick=${() => setQuery({ client: "", user: "", page: "" })}>${printable(clientKey({ user: query.user, clientID: query.client })).slice(0, 40)} ×</button>`}
    <span class="gap" />
    <${Button} icon="refresh" label=${t("proxies.refresh")} onClick=${() => found.reload()} />
    <${Button} icon="trash" why=${readOnly} onClick=${() => void clearOffline(() => found.reload())}>${t("prune.button")}<//>`;
  const filters = {
    type: known === "all" ? undefined : known,
    status: status === "all" ? undefined : status,
    user: query.client !== undefined ? (query.user ?? "") : query.user,
    clientID: query.client,
  };
  return html`<${Page} title=${t("nav.proxies")} subtitle=${html`<${Active} />`}>
    <${Kinds} known=${known} kept=${kept} />
    <${ProxyList} query=${query} filters=${filters} tools=${tools}
      none=${html`<${Empty} icon="proxy" title=${t(known === "all" ? "proxies.none" : "proxies.noneOfKind", { type: known.toUpperCase() })}>${t("proxies.noneHelp")}<//>`} />
  <//>`;
}
