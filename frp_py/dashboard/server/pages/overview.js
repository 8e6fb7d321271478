/** `#/`: what the server does now and did lately, and how it is set up. */
import { html, useRef, useState } from "../shared/base.js";
import { connection, post, useQuery } from "../shared/api.js";
import { bytes, bytesParts, dateTime, duration, now, number, printable, rate, useNow } from "../shared/format.js";
import { t } from "../shared/i18n.js";
import { useReadOnly } from "../shared/layout.js";
import { Plot } from "../shared/plot.js";
import { to, useTitle } from "../shared/router.js";
import { Badge, Button, Card, Dialog, Empty, Facts, Failure, Loading, Notice, Page, Stat, Tabs, confirm, open } from "../shared/ui.js";
import { useOverview } from "../parts.js";

const SPANS = { live: 300, hour: 3600, day: 86400, week: 7 * 86400, month: 31 * 86400 };
const GAP = 15; // s without a sample that are shown as a gap
const NOTHING = { times: [], incoming: [], outgoing: [], connections: [] };

// The last minutes, kept while other pages are looked at.
const recent = [];

function take(sample) {
  // The server tells whole seconds; when the sample came is nearer to when it was taken.
  const time = now();
  const last = recent.at(-1);
  if (last && (sample.startedAt !== last.startedAt || time < last.time)) recent.length = 0;
  // The first one is asked for, and may be older than it seems; one that is pushed follows at once.
  else if (last && time - last.time < 1.5) recent.pop();
  const { startedAt, trafficIn, trafficOut, connections } = sample;
  recent.push({ time, startedAt, trafficIn, trafficOut, connections });
  while (recent.length > 2 && recent[0].time < time - SPANS.live - 10) recent.shift();
}

/** Rates between samples; where some are missing the line has a gap. */
function liveLines(seed) {
  const lines = { times: [], incoming: [], outgoing: [], connections: [] };
  const add = (time, incoming, outgoing, connections) => {
    lines.times.push(time);
    lines.incoming.push(incoming);
    lines.outgoing.push(outgoing);
    lines.connections.push(connections);
  };
  const begin = recent[0]?.time ?? Infinity;
  const end = recent.at(-1)?.time ?? now();
  for (const point of seed?.points ?? []) {
    if (point.time + seed.step <= begin && point.time > end - SPANS.live) add(point.time + seed.step, point.trafficIn / seed.step, point.trafficOut / seed.step, point.connections);
  }
  for (let at = 1; at < recent.length; at += 1) {
    const [before, after] = [recent[at - 1], recent[at]];
    const seconds = after.time - before.time;
    if (seconds > GAP) add(before.time + 1, null, null, null);
    else add(after.time, (after.trafficIn - before.trafficIn) / seconds, (after.trafficOut - before.trafficOut) / seconds, after.connections);
  }
  return lines;
}

/** Rates of a series; its last step isn't over yet. */
function seriesLines({ step, points }) {
  const passed = (point) => Math.min(step, now() - point.time);
  const kept = points.filter((point) => passed(point) > step / 10);
  return {
    times: kept.map((point) => point.time),
    incoming: kept.map((point) => point.trafficIn / passed(point)),
    outgoing: kept.map((point) => point.trafficOut / passed(point)),
    connections: kept.map((point) => point.connections),
  };
}

function Plots({ overview, fresh }) {
  const [range, setRange] = useState("live");
  const live = range === "live";
  const found = useQuery("api/x/series", { query: { range: live ? "hour" : range }, every: live ? 0 : range === "hour" ? 10_000 : 60_000, keep: true });
  const kept = useRef({ lines: NOTHING });
  if (fresh && kept.current.sample !== overview) take(overview);
  // Lines are computed when something new came, not each time that the page is drawn.
  if (kept.current.sample !== overview || kept.current.range !== range || kept.current.series !== found.data) {
    const right = found.data?.range === (live ? "hour" : range);
    const lines = live ? liveLines(right ? found.data : null) : right ? seriesLines(found.data) : kept.current.lines;
    kept.current = { sample: overview, range, series: found.data, lines };
  }
  const { times, incoming, outgoing, connections } = kept.current.lines;
  const choice = html`<${Tabs} pills label=${t("overview.range")} value=${range} onChange=${setRange} items=${Object.keys(SPANS).map((id) => ({ id, label: t(`range.${id}`) }))} />`;
  const common = { times, span: SPANS[range] };
  return html`<div class="grid wide-left">
    <${Card} title=${t("overview.rate")} actions=${choice}>
      <${Plot} ...${common} label=${t("overview.rate")} format=${rate}
        series=${[{ label: t("plot.in"), tone: "in", values: incoming }, { label: t("plot.out"), tone: "out", values: outgoing }]} />
    <//>
    <${Card} title=${t("overview.connections")} note=${t(`range.${range}`)}>
      <${Plot} ...${common} label=${t("overview.connections")} format=${number} whole series=${[{ label: t("overview.connections"), tone: "third", values: connections }]} />
    <//>
  </div>`;
}

function Today({ overview }) {
  const { todayTrafficIn: incoming, todayTrafficOut: outgoing } = overview;
  const share = (value) => ({ width: `${incoming + outgoing ? (100 * value) / (incoming + outgoing) : 0}%` });
  return html`<${Card} title=${t("overview.network")} note=${t("overview.todayNote")}>
    <div class="stack">
      <div class="today">
        <div><span class="stat-label"><i class="swatch in" />${t("overview.inbound")}</span><span class="today-value">${bytes(incoming)}</span></div>
        <div><span class="stat-label"><i class="swatch out" />${t("overview.outbound")}</span><span class="today-value">${bytes(outgoing)}</span></div>
      </div>
      <div class="meter" aria-hidden="true"><i class="in" style=${share(incoming)} /><i class="out" style=${share(outgoing)} /></div>
      <${Facts} rows=${[
        [t("overview.sinceStart"), `${bytes(overview.trafficIn)} / ${bytes(overview.trafficOut)}`],
        [t("overview.memory"), bytes(overview.memory)],
      ]} />
    </div>
  <//>`;
}

function Types({ counts }) {
  const types = Object.entries(counts).filter(([, count]) => count > 0).sort((a, b) => b[1] - a[1]);
  const most = Math.max(1, ...types.map(([, count]) => count));
  return html`<${Card} title=${t("overview.types")}>
    ${types.length
      ? html`<ul class="types">${types.map(([type, count]) => html`<li key=${type}><a href=${to`/proxies/${type}`}>
          <span class="type">${type}</span><span class="meter" aria-hidden="true"><i style=${{ width: `${(100 * count) / most}%` }} /></span><b>${number(count)}</b></a></li>`)}</ul>`
      : html`<${Empty} icon="proxy" title=${t("overview.noProxies")} />`}
  <//>`;
}

function Configuration({ info }) {
  if (info.error) return html`<${Card} title=${t("config.title")}><${Failure} error=${info.error} retry=${info.reload} /><//>`;
  if (!info.data) return html`<${Card} title=${t("config.title")}><${Loading} lines=${6} /><//>`;
  const { config, version } = info.data;
  const port = (key, label) => config[key] > 0 && [label, html`<span class="mono">${config[key]}</span>`];
  return html`<${Card} title=${t("config.title")} actions=${html`<${Badge}>${version}<//>`}>
    <${Facts} rows=${[
      port("bindPort", t("config.bindPort")),
      port("kcpBindPort", t("config.kcpBindPort")),
      port("quicBindPort", t("config.quicBindPort")),
      port("vhostHTTPPort", t("config.vhostHTTPPort")),
      port("vhostHTTPSPort", t("config.vhostHTTPSPort")),
      port("tcpmuxHTTPConnectPort", t("config.tcpmuxHTTPConnectPort")),
      config.subdomainHost && [t("config.subdomainHost"), config.subdomainHost],
      [t("config.maxPoolCount"), number(config.maxPoolCount)],
      [t("config.maxPortsPerClient"), Number(config.maxPortsPerClient) > 0 ? config.maxPortsPerClient : t("config.noLimit")],
      config.allowPortsStr && [t("config.allowPorts"), html`<span class="mono">${config.allowPortsStr}</span>`],
      config.tlsForce && [t("config.tlsForce"), html`<${Badge} tone="ok" dot>${t("config.on")}<//>`],
      [t("config.heartbeatTimeout"), config.heartbeatTimeout > 0 ? t("config.seconds", { n: config.heartbeatTimeout }) : t("config.off")],
    ]} />
  <//>`;
}

const Keys = ({ title, keys }) => html`<div><h3>${title}</h3><div class="chips">${keys.map((key) => html`<code class="chip" key=${key}>${key}</code>`)}</div></div>`;

function Reloaded({ result, close }) {
  const { applied, restart } = result;
  return html`<${Dialog} title=${t("reload.done")} onClose=${close} footer=${html`<${Button} kind="primary" autofocus onClick=${close}>${t("ui.close")}<//>`}>
    ${!applied.length && !restart.length && html`<p>${t("reload.same")}</p>`}
    ${applied.length > 0 && html`<${Keys} title=${t("reload.applied")} keys=${applied} />`}
    ${restart.length > 0 && html`<${Notice} tone="warn" title=${t("reload.restart")}><div class="chips">${restart.map((key) => html`<code class="chip" key=${key}>${key}</code>`)}</div><//>`}
  <//>`;
}

async function reloadConfiguration(info) {
  let result;
  const agreed = await confirm({
    title: t("reload.title"),
    text: t("reload.text"),
    action: t("reload.action"),
    run: async () => {
      result = await post("api/x/system/reload");
    },
  });
  if (!agreed) return;
  info.reload();
  await open((close) => html`<${Reloaded} result=${result} close=${close} />`);
}

function Uptime({ startedAt }) {
  const seconds = useNow(1);
  // While the server is gone nobody knows how long it has been up.
  return html`<span data-tip=${dateTime(startedAt)}>${t("overview.uptime", { time: connection.value.state === "online" ? duration(seconds - startedAt) : "–" })}</span>`;
}

/** The page. */
export function Overview() {
  useTitle("");
  const { data, fresh, error, live } = useOverview();
  const info = useQuery("api/v2/system/info");
  const readOnly = useReadOnly();
  const sum = data && Object.values(data.proxyTypeCount).reduce((a, b) => a + b, 0);
  const [traffic, unit] = data ? bytesParts(data.todayTrafficIn + data.todayTrafficOut) : [];
  return html`<${Page} title=${t("nav.overview")}
    subtitle=${data ? html`<span>${t("overview.version", { version: data.version })}</span><${Uptime} startedAt=${data.startedAt} /><span class="live-mark">${connection.value.state !== "online" ? "" : live ? html`<i class="dot" />${t("overview.live")}` : t("overview.polled")}</span>` : "\u00a0"}
    actions=${html`<${Button} icon="reload" why=${readOnly} onClick=${() => void reloadConfiguration(info)}>${t("reload.button")}<//>`}>
    ${data?.hints?.map((hint) => html`<${Notice} tone="warn" key=${hint}>${printable(hint)}<//>`)}
    ${error && !data && html`<div class="card"><${Failure} error=${error} /></div>`}
    <div class="grid stats">
      <${Stat} icon="client" href="#/clients" label=${t("nav.clients")} value=${data && number(data.clients)} note=${!data ? "\u00a0" : (data.clientsOffline ? t("overview.offline", { n: number(data.clientsOffline) }) : t("overview.connected"))} />
      <${Stat} icon="proxy" href="#/proxies" label=${t("nav.proxies")} value=${data && number(sum)} note=${t("overview.active")} />
      <${Stat} icon="connections" label=${t("overview.connections")} value=${data && number(data.connections)} note=${t("overview.now")} />
      <${Stat} icon="traffic" label=${t("overview.traffic")} value=${traffic} unit=${unit} note=${t("overview.trafficNote")} />
    </div>
    <${Plots} overview=${data} fresh=${fresh} />
    <div class="grid two three">
      ${data ? html`<${Today} overview=${data} /><${Types} counts=${data.proxyTypeCount} />` : html`<${Card} title=${t("overview.network")}><${Loading} /><//><${Card} title=${t("overview.types")}><${Loading} /><//>`}
      <${Configuration} info=${info} />
    </div>
  <//>`;
}
