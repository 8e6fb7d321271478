/** `#/clients/KEY`: one client and its proxies. */
import { html } from "../shared/base.js";
import { part, useQuery } from "../shared/api.js";
import { dateTime, number, printable } from "../shared/format.js";
import { t } from "../shared/i18n.js";
import { useReadOnly } from "../shared/layout.js";
import { useTitle } from "../shared/router.js";
import { Ago, Button, Card, Copy, Empty, Facts, Failure, Loading, Name, Page, Stat } from "../shared/ui.js";
import { EVERY, Phase, ProxyList, TrafficHistory, kick, useChanges } from "../parts.js";

/** The page; `clientKey` is the client's key. */
export function ClientDetail({ clientKey, query }) {
  useTitle(printable(clientKey).slice(0, 60));
  const readOnly = useReadOnly();
  const found = useQuery(`api/v2/clients/${part(clientKey)}`, { every: EVERY });
  useChanges("clients", () => found.reload());
  const client = found.data;
  const crumbs = [{ label: t("nav.clients"), href: "#/clients" }];
  if (!client) {
    const missing = found.error?.status === 404;
    return html`<${Page} crumbs=${crumbs} title=${html`<${Name} text=${clientKey} />`}><div class="card">
      ${missing
        ? html`<${Empty} icon="client" title=${t("client.missing")} action=${html`<a class="button plain" href="#/clients">${t("client.toList")}</a>`}>${t("client.missingHelp")}<//>`
        : found.error ? html`<${Failure} error=${found.error} retry=${found.reload} />` : html`<${Loading} lines=${6} />`}
    </div><//>`;
  }
  const kicked = async () => {
    if (await kick(client)) await found.reload();
  };
  return html`<${Page} crumbs=${crumbs} title=${html`<${Name} text=${client.key} /><${Phase} phase=${client.online ? "online" : "offline"} />`}
    subtitle=${html`${client.hostname && html`<${Name} text=${client.hostname} />`}${client.clientIP && html`<${Name} text=${client.clientIP} class="mono" />`}
      <span>${t(client.online ? "client.connectedAgo" : "client.disconnectedAgo")} <${Ago} at=${client.online ? client.lastConnectedAt : client.disconnectedAt} /></span>`}
    actions=${client.online && html`<${Button} kind="danger" icon="power" why=${readOnly} onClick=${() => void kicked()}>${t("kick.action")}<//>`}>
    <div class="grid stats">
      <${Stat} icon="connections" label=${t("overview.connections")} value=${number(client.status.curConns)} />
      <${Stat} icon="proxy" label=${t("nav.proxies")} value=${number(client.status.proxyCount)} />
    </div>
    <${ProxyList} query=${query} from=${client.key} filters=${{ user: client.user, clientID: client.clientID }} none=${html`<${Empty} icon="proxy" title=${t("client.noProxies")} />`} />
    <div class="grid wide-left">
      <${TrafficHistory} of="clients" name=${client.key} />
      <${Card} title=${t("client.about")}>
        <${Facts} rows=${[
          client.user && [t("client.user"), html`<${Name} text=${client.user} />`],
          [t("client.id"), html`<${Name} text=${client.clientID} class="mono" />`],
          [t("client.version"), client.version && html`<${Name} text=${client.version} />`],
          [t("client.protocol"), client.wireProtocol],
          [t("client.address"), client.clientIP && html`<${Name} text=${client.clientIP} class="mono" />`],
          [t("client.hostname"), client.hostname && html`<${Name} text=${client.hostname} />`],
          client.runID && [t("client.runID"), html`<span class="with-copy"><${Name} text=${client.runID} class="mono" /><${Copy} text=${client.runID} /></span>`],
          [t("client.first"), dateTime(client.firstConnectedAt)],
          [t("client.last"), dateTime(client.lastConnectedAt)],
          !client.online && client.disconnectedAt && [t("client.gone"), dateTime(client.disconnectedAt)],
        ]} />
      <//>
    </div>
  <//>`;
}
