/** The newest lines of the log, as they are written. */
import { html, useEffect, useMemo, useRef, useState } from "../shared/base.js";
import { get, useEvents, useQuery } from "../shared/api.js";
import { dateTime, number, printable, time } from "../shared/format.js";
import { t } from "../shared/i18n.js";
import { setQuery, useTitle } from "../shared/router.js";
import { Button, Card, Empty, Failure, Loading, Page, SearchBox } from "../shared/ui.js";
import { LinkNotice } from "../link.js";
import { useStatus } from "../live.js";
import { holds } from "../parts.js";

const LEVELS = ["trace", "debug", "info", "warn", "error"];
const MOST = 1000;
const PATH = "api/x/log";
const DRAW_EVERY = 150;

/** The lines there are, oldest first; those that come are drawn together, not one by one. */
function useLines() {
  const [lines, setLines] = useState(null);
  const waiting = useRef([]);
  const timer = useRef();
  const last = useRef(0);
  const add = (more) => {
    waiting.current.push(...more);
    timer.current ??= setTimeout(() => {
      timer.current = undefined;
      // A line may come twice, asked for and as an event.
      const fresh = [...new Map(waiting.current.map((line) => [line.id, line])).values()].filter(({ id }) => id > last.current).sort((a, b) => a.id - b.id);
      waiting.current = [];
      if (!fresh.length) return;
      last.current = fresh.at(-1).id;
      setLines((old) => [...(old ?? []), ...fresh].slice(-MOST));
    }, DRAW_EVERY);
  };
  const live = useEvents("api/x/events", { log: (line) => add([line]) });
  const first = useQuery(PATH);
  useEffect(() => {
    if (!first.data) return;
    // After a restart of the program its lines are counted from 1 again.
    if (first.data.lines.length && first.data.lines.at(-1).id < last.current) {
      last.current = 0;
      setLines([]);
    }
    setLines((old) => old ?? []);
    add(first.data.lines);
  }, [first.data]);
  useEffect(() => {
    if (!first.data) return undefined;
    const ask = () => document.hidden || get(PATH, { query: { after: last.current } }).then((answer) => add(answer.lines), () => {});
    // What was written before the stream stood is asked for once; without a stream all is.
    if (live) {
      ask();
      return undefined;
    }
    const asking = setInterval(ask, 3000);
    return () => clearInterval(asking);
  }, [live, first.data]);
  useEffect(() => () => clearTimeout(timer.current), []);
  return { lines, error: first.error, retry: first.reload };
}

const Line = ({ line }) => html`<li class=${`log-line ${line.level}`}>
  <time dateTime=${new Date(line.time * 1000).toISOString()} title=${dateTime(line.time)}>${time(line.time)}</time>
  <span class="log-level">${t(`log.level.${line.level}`)}</span>
  <span class="log-text">${printable(line.text)}</span>
</li>`;

function Lines({ lines }) {
  const box = useRef(null);
  const [atEnd, setAtEnd] = useState(true);
  const down = () => box.current.scrollTo({ top: box.current.scrollHeight });
  useEffect(() => {
    if (atEnd) down();
  }, [lines]);
  const scrolled = () => {
    const { scrollTop, scrollHeight, clientHeight } = box.current;
    setAtEnd(scrollHeight - scrollTop - clientHeight < 24);
  };
  return html`<div class="log-box">
    <div class="log" ref=${box} tabindex="0" role="log" aria-label=${t("log.lines")} aria-live="off" onScroll=${scrolled}>
      <ol>${lines.map((line) => html`<${Line} key=${line.id} line=${line} />`)}</ol>
    </div>
    ${!atEnd && html`<${Button} small class="log-down" icon="down" onClick=${() => { down(); setAtEnd(true); }}>${t("log.follow")}<//>`}
  </div>`;
}

/** #/log?level=warn&q=… */
export function LogPage({ query }) {
  useTitle(t("log.title"));
  const { status } = useStatus();
  const { lines, error, retry } = useLines();
  const [stopped, setStopped] = useState(null);
  const least = Math.max(0, LEVELS.indexOf(query.level ?? "trace"));
  const search = query.q ?? "";
  const shown = useMemo(
    () => (stopped ?? lines ?? []).filter((line) => LEVELS.indexOf(line.level) >= least && holds(search, line.text)),
    [lines, stopped, least, search],
  );
  const missed = stopped && lines ? lines.filter(({ id }) => id > (stopped.at(-1)?.id ?? 0)).length : 0;
  const body = () => {
    if (!lines) return error ? html`<${Failure} error=${error} retry=${retry} />` : html`<${Loading} lines=${8} />`;
    if (!shown.length) return html`<${Empty} icon="log" title=${t(lines.length ? "log.noMatch" : "log.none")} />`;
    return html`<${Lines} lines=${shown} />`;
  };
  return html`<${Page} title=${t("log.title")} subtitle=${lines && html`<span>${stopped ? t("log.paused", { n: number(missed) }) : t("log.count", { n: shown.length })}</span>`}
    actions=${html`<${Button} icon=${stopped ? "play" : "pause"} aria-pressed=${Boolean(stopped)} disabled=${!lines} onClick=${() => setStopped(stopped ? null : lines)}>${t(stopped ? "log.resume" : "log.pause")}<//>`}>
    <${LinkNotice} status=${status} />
    <div class="toolbar">
      <${SearchBox} label=${t("log.search")} value=${search} onSearch=${(q) => setQuery({ q })} />
      <label class="filter"><span>${t("log.level")}</span>
        <select value=${LEVELS[least]} onChange=${(event) => setQuery({ level: event.target.value === "trace" ? "" : event.target.value })}>
          ${LEVELS.map((level) => html`<option value=${level}>${t(`log.level.${level}`)}${level === "error" ? "" : " +"}</option>`)}
        </select>
      </label>
    </div>
    <${Card} flush>${body()}<//>
  <//>`;
}
