/** `#/proxy/NAME`: one proxy: its state, traffic, connections and configuration. */
import { html } from "../shared/base.js";
import { part, useQuery } from "../shared/api.js";
import { bytes, bytesParts, number, printable } from "../shared/format.js";
import { t } from "../shared/i18n.js";
import { to, useTitle } from "../shared/router.js";
import { Ago, Badge, Card, Empty, Facts, Failure, Loading, Name, Page, Stat, Table } from "../shared/ui.js";
import { EVERY, InOut, Owner, Phase, TrafficHistory, addresses, block, useChanges } from "../parts.js";

const Names = ({ list }) => html`<span class="chips ends">${list.map((text) => html`<span class="chip mono" key=${text}><${Name} text=${text} /></span>`)}</span>`;

const OnOff = ({ on }) => (on ? html`<${Badge} tone="ok" dot>${t("config.on")}<//>` : html`<span class="faint">${t("config.off")}</span>`);

function Configuration({ proxy, subdomainHost }) {
  if (proxy.status.phase !== "online") return html`<${Card} title=${t("proxy.config")}><${Empty} icon="config" title=${t("proxy.offlineConfig")} /><//>`;
  const spec = block(proxy);
  const transport = spec.transport ?? {};
  const rows = [
    [t("proxy.encryption"), html`<${OnOff} on=${transport.useEncryption} />`],
    [t("proxy.compression"), html`<${OnOff} on=${transport.useCompression} />`],
    transport.bandwidthLimit && [t("proxy.bandwidth"), `${transport.bandwidthLimit} (${t(transport.bandwidthLimitMode === "server" ? "proxy.atServer" : "proxy.atClient")})`],
    spec.loadBalancer?.group && [t("proxy.group"), html`<${Name} text=${spec.loadBalancer.group} />`],
    spec.customDomains?.length && [t("proxy.domains"), html`<${Names} list=${spec.customDomains} />`],
    spec.subdomain && [t("proxy.subdomain"), html`<${Name} text=${subdomainHost ? `${spec.subdomain}.${subdomainHost}` : spec.subdomain} class="mono" />`],
    spec.locations?.length && [t("proxy.locations"), html`<${Names} list=${spec.locations} />`],
    spec.hostHeaderRewrite && [t("proxy.hostRewrite"), html`<${Name} text=${spec.hostHeaderRewrite} class="mono" />`],
    spec.multiplexer && [t("proxy.multiplexer"), html`<${Name} text=${spec.multiplexer} class="mono" />`],
    spec.routeByHTTPUser && [t("proxy.routeByUser"), html`<${Name} text=${spec.routeByHTTPUser} class="mono" />`],
  ];
  return html`<${Card} title=${t("proxy.config")}><${Facts} rows=${rows} /><//>`;
}

const Pairs = ({ title, pairs }) => html`<${Card} title=${title}><div class="chips">
  ${Object.entries(pairs).map(([key, value]) => html`<span class="chip" key=${key}><b><${Name} text=${key} /></b>: <${Name} text=${value} /></span>`)}
</div><//>`;

function Connections({ name }) {
  const found = useQuery(`api/x/proxies/${part(name)}/connections`, { every: EVERY });
  const { data, error } = found;
  const columns = [
    { id: "user", label: t("connection.user"), main: true, cell: (one) => html`<${Name} text=${one.user} />` },
    { id: "since", label: t("connection.since"), width: "28%", cell: (one) => html`<${Ago} at=${one.since} />` },
    { id: "traffic", label: t("connection.traffic"), width: "220px", end: true, cell: (one) => html`<${InOut} incoming=${one.trafficIn} outgoing=${one.trafficOut} />` },
  ];
  const body = () => {
    if (!data) return error ? html`<${Failure} error=${error} retry=${found.reload} />` : html`<${Loading} />`;
    if (!data.items.length) return html`<${Empty} icon="connections" title=${t("connection.none")} />`;
    return html`<div class="scroll" tabindex="0" role="region" aria-label=${t("connection.title")}><${Table} label=${t("connection.title")} columns=${columns} rows=${data.items} rowKey=${(one) => `${one.user} ${one.since}`} /></div>`;
  };
  const note = data && (data.total > data.items.length ? t("connection.some", { shown: number(data.items.length), total: number(data.total) }) : number(data.total));
  return html`<${Card} flush title=${t("connection.title")} note=${note}>${body()}<//>`;
}

/** The page; `query.client` is the key of the client it was reached from. */
export function ProxyDetail({ name, query }) {
  useTitle(printable(name).slice(0, 60));
  const found = useQuery(`api/v2/proxies/${part(name)}`, { every: EVERY });
  const info = useQuery("api/v2/system/info");
  useChanges("proxies", () => found.reload());
  const proxy = found.data;
  const crumbs = query.client
    ? [{ label: t("nav.clients"), href: "#/clients" }, { label: query.client, href: to`/clients/${query.client}` }]
    : [{ label: t("nav.proxies"), href: "#/proxies" }];
  if (!proxy) {
    return html`<${Page} crumbs=${crumbs} title=${html`<${Name} text=${name} />`}><div class="card">
      ${found.error?.status === 404
        ? html`<${Empty} icon="proxy" title=${t("proxy.missing")} action=${html`<a class="button plain" href="#/proxies">${t("proxy.toList")}</a>`}>${t("proxy.missingHelp")}<//>`
        : found.error ? html`<${Failure} error=${found.error} retry=${found.reload} />` : html`<${Loading} lines=${6} />`}
    </div><//>`;
  }
  const { status, spec } = proxy;
  const { annotations = {}, metadatas = {}, remotePort } = block(proxy);
  const online = status.phase === "online";
  const [traffic, unit] = bytesParts(status.todayTrafficIn + status.todayTrafficOut);
  const reached = addresses(proxy, info.data?.config.subdomainHost);
  return html`<${Page} crumbs=${crumbs} title=${html`<${Name} text=${name} /><${Badge} tone="info">${spec.type.toUpperCase()}<//><${Phase} phase=${status.phase} />`}
    subtitle=${html`${(proxy.user || proxy.clientID) && html`<span class="owner-line">${t("proxy.client")} <${Owner} proxy=${proxy} /></span>`}
      <span>${t("proxy.lastStart")} <${Ago} at=${status.lastStartAt} /></span>
      ${status.lastCloseAt && html`<span>${t("proxy.lastClose")} <${Ago} at=${status.lastCloseAt} /></span>`}`}>
    <div class="grid stats">
      <${Stat} icon="external" label=${remotePort ? t("proxy.port") : t("proxy.address")} value=${remotePort ? String(remotePort) : reached.length ? html`<span class="small-value"><${Name} text=${reached[0]} /></span>` : "–"}
        note=${reached.length > 1 ? `+${reached.length - 1}` : undefined} />
      <${Stat} icon="connections" label=${t("overview.connections")} value=${number(status.curConns)} note=${t("overview.now")} />
      <${Stat} icon="traffic" label=${t("proxy.trafficToday")} value=${traffic} unit=${unit} note=${t("proxy.inOut", { incoming: bytes(status.todayTrafficIn), outgoing: bytes(status.todayTrafficOut) })} />
    </div>
    <div class="grid wide-left">
      <${TrafficHistory} of="proxies" name=${name} />
      <${Configuration} proxy=${proxy} subdomainHost=${info.data?.config.subdomainHost} />
    </div>
    ${online && html`<${Connections} name=${name} />`}
    ${(Object.keys(annotations).length > 0 || Object.keys(metadatas).length > 0) && html`<div class="grid two">
      ${Object.keys(annotations).length > 0 && html`<${Pairs} title=${t("proxy.annotations")} pairs=${annotations} />`}
      ${Object.keys(metadatas).length > 0 && html`<${Pairs} title=${t("proxy.metadatas")} pairs=${metadatas} />`}
    </div>`}
  <//>`;
}
