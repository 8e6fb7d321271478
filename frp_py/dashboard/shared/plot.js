/** Lines over time, and bars per day or hour. The drawing library is loaded when the first plot is shown. */
import { html, useEffect, useRef, useState, useStore } from "./base.js";
import { bytes, day, time } from "./format.js";
import { language, t } from "./i18n.js";

let library;
const load = () => {
  library ??= import("./vendor/uplot.js").then((module) => module.default);
  return library;
};

const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

const FONT = "11px system-ui, sans-serif";
// Binary steps, so that the axis says 512 KB and not 488.28 KB.
const BINARY_STEPS = Array.from({ length: 62 }, (_, power) => 2 ** power);
const WHOLE_STEPS = [1, 2, 5].flatMap((step) => Array.from({ length: 12 }, (_, power) => step * 10 ** power)).sort((a, b) => a - b);
// A line that ends where nothing is known.
const NO_DATA = null;

const axisTime = (unix, span) => (span > 2 * 86400 ? day(unix) : time(unix, span <= 600));

function options({ series, format, whole, width, height, span, onCursor }) {
  const grid = { stroke: color("line"), width: 1 };
  const axis = { stroke: color("text-3"), font: FONT, grid, ticks: { show: false } };
  return {
    width,
    height,
    legend: { show: false },
    padding: [8, 26, 0, 0],
    cursor: { y: false, drag: { x: false, y: false }, points: { size: 7 } },
    scales: { x: { time: true }, y: { range: (_plot, _low, high) => [0, Math.max(high * 1.1, whole ? 4 : 1024)] } },
    axes: [
      { ...axis, grid: { show: false }, size: 26, space: 50, values: (_plot, marks) => marks.map((mark) => axisTime(mark, span)) },
      { ...axis, size: whole ? 48 : 74, incrs: whole ? WHOLE_STEPS : BINARY_STEPS, space: 34, values: (_plot, marks) => marks.map(format) },
    ],
    series: [
      {},
      ...series.map(({ tone }) => ({
        stroke: color(tone),
        width: 1.75,
        fill: (plot) => {
          const fill = plot.ctx.createLinearGradient(0, plot.bbox.top, 0, plot.bbox.top + plot.bbox.height);
          fill.addColorStop(0, `${color(tone)}33`);
          fill.addColorStop(1, `${color(tone)}05`);
          return fill;
        },
        points: { show: false },
      })),
    ],
    hooks: { setCursor: [(plot) => onCursor(plot.cursor.idx ?? null)] },
  };
}

/**
 * Lines over time.
 * @param {{label: string, times: number[], series: {label, tone: "in" | "out" | "third", values: (number | null)[]}[], format: (n) => string, whole?: boolean, span: number}} props
 *   `label` describes the plot to those who don't see it; `span` is its length in seconds; `whole`: the values are counts
 */
export function Plot({ label, times, series, format, whole, span }) {
  const holder = useRef(null);
  const plot = useRef(null);
  const [at, setAt] = useState(null);
  const [ready, setReady] = useState(0);
  const shown = useStore(language);
  const data = [times, ...series.map(({ values }) => values)];
  const newest = useRef(data);
  newest.current = data;
  useEffect(() => {
    let over = false;
    const box = holder.current;
    const make = async () => {
      const UPlot = await load();
      if (over) return;
      plot.current?.destroy();
      const { clientWidth: width, clientHeight: height } = box;
      plot.current = new UPlot(options({ series, format, whole, width, height, span, onCursor: setAt }), newest.current, box);
      setReady((n) => n + 1);
    };
    const resized = new ResizeObserver(() => {
      const { clientWidth: width, clientHeight: height } = box;
      if (width) plot.current?.setSize({ width, height });
    });
    resized.observe(box);
    addEventListener("frp-theme", make);
    make();
    return () => {
      over = true;
      resized.disconnect();
      removeEventListener("frp-theme", make);
      plot.current?.destroy();
      plot.current = null;
    };
  }, [shown, span, whole, series.length]);
  useEffect(() => {
    plot.current?.setData(data);
  }, [times, ready]);
  const row = at ?? times.length - 1;
  const said = series.map((one) => `${one.label} ${format(one.values[row] ?? 0)}`).join(", ");
  return html`<figure class="plot" role="img" aria-label=${`${label}: ${said}`}>
    <div class="plot-legend" aria-hidden="true">
      ${series.map((one) => html`<span key=${one.tone}><i class=${`swatch ${one.tone}`} />${one.label} <b>${(one.values[row] ?? NO_DATA) === NO_DATA ? "–" : format(one.values[row])}</b></span>`)}
      ${at !== null && times[at] && html`<time>${span > 86400 ? `${day(times[at])} ` : ""}${time(times[at], span <= 3600)}</time>`}
    </div>
    <div class="plot-area" ref=${holder} />
    ${!times.length && html`<div class="plot-empty">${t("plot.empty")}</div>`}
  </figure>`;
}

/**
 * Traffic in and out as pairs of bars.
 * @param {{label: string, points: {label: string, tip: string, trafficIn: number, trafficOut: number}[], every?: number}} props
 *   the scale reaches at least 100 bytes; of many bars every `every`-th has its label
 */
export function Bars({ label, points, every = 1 }) {
  const highest = Math.max(100, ...points.flatMap(({ trafficIn, trafficOut }) => [trafficIn, trafficOut]));
  const total = (name) => bytes(points.reduce((sum, point) => sum + point[name], 0));
  const height = (value) => ({ height: value ? `max(2px, ${(100 * value) / highest}%)` : "0" });
  return html`<figure class="plot">
    <div class="plot-legend">
      <span><i class="swatch in" />${t("plot.in")} <b>${total("trafficIn")}</b></span>
      <span><i class="swatch out" />${t("plot.out")} <b>${total("trafficOut")}</b></span>
    </div>
    <div class="bars" role="list" aria-label=${label}>
      ${points.map((point, at) => html`<div class="bars-column" role="listitem" key=${point.tip} aria-label=${`${point.tip}: ${t("plot.in")} ${bytes(point.trafficIn)}, ${t("plot.out")} ${bytes(point.trafficOut)}`}
        data-tip=${`${point.tip} · ${t("plot.in")} ${bytes(point.trafficIn)} · ${t("plot.out")} ${bytes(point.trafficOut)}`}>
        <div class="bars-pair"><i class="in" style=${height(point.trafficIn)} /><i class="out" style=${height(point.trafficOut)} /></div>
        <span class="bars-label" aria-hidden="true"><span>${(points.length - 1 - at) % every === Math.floor(every / 2) ? point.label : ""}</span></span>
      </div>`)}
    </div>
  </figure>`;
}
